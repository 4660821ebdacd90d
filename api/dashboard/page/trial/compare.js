// Up to four pinned trials side by side: blocks, curves, figures. A bar at the foot holds the pins.

import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { showError, showLoading } from "../core/states.js";
import { curvePoints, drawCurves } from "../charts/curves.js";
import { Frame } from "../charts/frame.js";
import { blockDiagram } from "./block_diagram.js";

const ROWS = [
  ["Fitness, one run", (one) => (one.status === "completed" ? format.fitness(one.fitness) : format.NONE)],
  ["Pool", (one) => one.pool ?? format.NONE],
  ["Validation loss", (one) => format.fixed(one.measurements.validation_loss, 4)],
  ["Bits per byte", (one) => format.fixed(one.measurements.bits_per_byte, 4)],
  ["Step time", (one) => format.milliseconds(one.measurements.step_time_ms)],
  ["Parameters", (one) => format.count(one.measurements.parameters ?? one.parameters)],
  ["Activated", (one) => format.count(one.activated_parameters)],
  ["Tokens", (one) => format.count(one.measurements.tokens)],
  ["Mutation", (one) => one.mutation || one.origin || one.kind],
];

export class PinBar {
  constructor(box, { app, session }) {
    Object.assign(this, { box, app, session });
  }

  draw() {
    const { state } = this.app;
    const pins = state.pins();
    const open = state.get("view") === "compare" && pins.length > 1;
    const key = `${pins.join()} ${open}`;
    if (this.key === key) return;
    this.key = key;
    this.box.hidden = pins.length === 0;
    const unpin = (pin) => state.set({ pins: pins.filter((one) => one !== pin).join(",") });
    replace(
      this.box,
      element("span", {}, "Pinned"),
      pins.map((pin, i) => element("span", { class: "pin" }, element("i", { class: `swatch pin-${i}`, "aria-hidden": "true" }), element("a", { class: "linked", href: state.address({ trial: pin }) }, `#${pin}`), element("button", { type: "button", class: "quiet", "aria-label": `Unpin #${pin}`, on: { click: () => unpin(pin) } }, "✕"))),
      element("button", { type: "button", class: "action", id: "compare-open", disabled: pins.length < 2, on: { click: () => state.set({ view: "compare" }, { push: true }) } }, "Compare"),
    );
    if (open) this.open(pins);
    else this.dialog?.close();
  }

  async open(pins) {
    const body = element("div", { class: "compare-body" });
    const close = element("button", { type: "button", class: "quiet", autofocus: true, "aria-label": "Close the comparison" }, "✕");
    const dialog = element("dialog", { class: "compare", "aria-label": "Compare trials" }, element("div", { class: "drawer-head" }, element("h2", {}, `Compare ${pins.map((pin) => `#${pin}`).join(", ")}`), close), body);
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      this.frame?.close();
      dialog.remove();
      this.dialog = null;
      if (this.app.state.get("view") === "compare") this.app.state.set({ view: "" });
    });
    this.dialog = dialog;
    document.body.append(dialog);
    dialog.showModal();
    showLoading(body, "the pinned trials");
    try {
      const read = await Promise.all(pins.map((pin) => this.session.orNull(this.session.get(`/trials/${pin}`))));
      this.show(body, read.filter(Boolean));
    } catch (error) {
      showError(body, error);
    }
  }

  show(body, trials) {
    const curveBox = element("div", {});
    const pools = new Set(trials.map((one) => one.pool));
    replace(
      body,
      pools.size > 1 ? element("p", { class: "reason" }, "These ran on different pools: fitness compares them, each against the baseline of its own pool; losses and step times do not.") : null,
      element("div", { class: "compare-blocks" }, trials.map((one, i) => element("figure", {}, element("figcaption", {}, element("i", { class: `swatch pin-${i}`, "aria-hidden": "true" }), ` #${one.number}`), blockDiagram(one.genome, { proxy: this.session.search.spec.proxy, compact: true, label: `Block of trial #${one.number}` })))),
      element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Figures of the pinned trials" },
        element("table", { class: "plain" },
          element("thead", {}, element("tr", {}, element("td", {}), trials.map((one) => element("th", { scope: "col" }, `#${one.number}`)))),
          element("tbody", {}, ROWS.map(([label, read]) => element("tr", {}, element("th", { scope: "row" }, label), trials.map((one) => element("td", {}, read(one)))))))),
      curveBox,
    );
    this.frame = new Frame(curveBox, { title: "Learning curves", file: "compare-curves", height: 240 });
    drawCurves(this.frame, trials.map((one, i) => ({ label: `#${one.number}`, points: curvePoints(one.measurements.curve), style: `pin-${i}` })));
  }
}
