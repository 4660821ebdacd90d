// The strip below the charts: the whole search in small, and the stretch that is looked at, which
// is dragged, resized, or moved with the keyboard. Everything on the page follows it.

import { element, replace, setText, svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { yDomain } from "./fitness.js";
import { linear } from "./scale.js";

const HEIGHT = 46;
const LEFT = 10;
const RIGHT = 10;
const EDGE = 9;

export class Navigator {
  // `onMove(from, to)` while it moves, `onStretch(from, to)` when it has; nulls mean the whole.
  constructor(box, { onMove, onStretch }) {
    Object.assign(this, { onMove, onStretch });
    this.svg = svg("svg", { class: "navigator-drawing", height: HEIGHT, "aria-hidden": "true" });
    this.window = element("div", {
      class: "navigator-window", tabindex: "0", role: "slider", "aria-label": "Stretch of trials that is shown",
      "aria-valuemin": "0",
    });
    this.says = element("span", { class: "navigator-says", role: "status" });
    this.reset = element("button", { type: "button", class: "quiet", on: { click: () => onStretch(null, null) } }, "Show the whole search");
    this.strip = element("div", { class: "navigator-strip" }, this.svg, this.window);
    replace(box, this.strip, element("div", { class: "navigator-foot" }, this.says, this.reset));
    this.strip.addEventListener("pointerdown", (event) => this.pressed(event));
    this.strip.addEventListener("pointermove", (event) => this.dragged(event));
    this.strip.addEventListener("pointerup", () => this.released());
    this.window.addEventListener("keydown", (event) => this.key(event));
    this.width = 0; // as last laid out: to ask would have the page laid out at once
    new ResizeObserver(() => this.resized()).observe(this.strip);
  }

  resized() {
    this.width = Math.round(this.strip.clientWidth);
    if (this.data) this.draw(this.data, this.from, this.to);
  }

  // `data` is the Overview of the whole search; `from` and `to` are trial numbers or null.
  draw(data, from, to) {
    Object.assign(this, { data, from, to });
    const { width } = this;
    if (width < 60) return;
    this.x = linear([0, Math.max(1, data.last)], [LEFT, width - RIGHT]);
    const key = `${data.seq} ${width}`;
    if (this.drawn !== key) {
      this.drawn = key;
      this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      replace(this.svg, this.picture());
    }
    this.place();
    const whole = from === null && to === null;
    this.reset.hidden = whole;
    const [first, last] = this.stretch();
    setText(this.says, whole ? `all ${format.whole(data.total)} trials` : `trials ${format.whole(first)} to ${format.whole(last)} of ${format.whole(data.total)}`);
    this.window.setAttribute("aria-valuemax", String(data.last));
    this.window.setAttribute("aria-valuenow", String(first));
    this.window.setAttribute("aria-valuetext", this.says.textContent);
  }

  picture() {
    const { data, x } = this;
    const shown = data.points.number.map((number, i) => ({ number, fitness: data.points.fitness[i] }));
    const y = linear(yDomain(data, shown), [HEIGHT - 3, 3]);
    const clip = (value) => Math.min(HEIGHT - 2, Math.max(2, y(value)));
    const bands = data.bands.map((band) =>
      svg("path", { class: "navigator-median", d: `M${band.number.map((number, i) => `${x(number).toFixed(1)} ${clip(band.median[i]).toFixed(1)}`).join("L")}` }),
    );
    const dots = data.bands.length ? "" : shown.filter((one) => one.fitness !== null).map((one) => `M${x(one.number).toFixed(1)} ${clip(one.fitness).toFixed(1)}h0`).join("");
    const { number, fitness } = data.best;
    const best = number.length ? `M${x(number[0])} ${clip(fitness[0])}${number.slice(1).map((at, i) => `H${x(at).toFixed(1)}V${clip(fitness[i + 1]).toFixed(1)}`).join("")}H${x(data.last)}` : "";
    return [...bands, svg("path", { class: "navigator-dots", d: dots }), svg("path", { class: "running-best", d: best })];
  }

  stretch() {
    return [this.from ?? 0, Math.min(this.to ?? this.data.last, this.data.last)];
  }

  place() {
    const [first, last] = this.stretch();
    const left = this.x(first);
    this.window.style.left = `${left}px`;
    this.window.style.width = `${Math.max(6, this.x(last) - left)}px`;
  }

  pressed(event) {
    if (event.button !== 0 || !this.data) return;
    this.left = this.strip.getBoundingClientRect().left;
    const at = event.clientX - this.left;
    const [first, last] = this.stretch();
    const [left, right] = [this.x(first), this.x(last)];
    const inside = at > left - EDGE && at < right + EDGE;
    const whole = this.from === null && this.to === null;
    if (Math.abs(at - left) < EDGE) this.drag = { edge: "first" };
    else if (Math.abs(at - right) < EDGE) this.drag = { edge: "last" };
    else if (inside && !whole) this.drag = { edge: "both", grip: this.x.invert(at) - first };
    else this.drag = { edge: "new", origin: Math.round(this.x.invert(at)) };
    this.strip.setPointerCapture(event.pointerId);
    this.window.focus();
    event.preventDefault();
  }

  dragged(event) {
    if (!this.drag) return;
    const at = this.x.invert(event.clientX - this.left);
    const [first, last] = this.stretch();
    const end = this.data.last;
    if (this.drag.edge === "first") this.move(at, last);
    else if (this.drag.edge === "last") this.move(first, at);
    else if (this.drag.edge === "new") this.move(Math.min(at, this.drag.origin), Math.max(at, this.drag.origin));
    else {
      const from = Math.min(Math.max(0, at - this.drag.grip), end - (last - first));
      this.move(from, from + last - first);
    }
  }

  move(from, to) {
    this.from = Math.max(0, Math.round(Math.min(from, to - 1)));
    this.to = Math.min(this.data.last, Math.round(Math.max(to, this.from + 1)));
    this.drag && (this.drag.moved = true);
    this.place();
    this.onMove(this.from, this.to);
  }

  released() {
    if (this.drag?.moved) this.onStretch(this.from, this.to);
    this.drag = null;
  }

  key(event) {
    const [first, last] = this.stretch();
    const span = last - first;
    const end = this.data?.last ?? 0;
    const step = Math.max(1, Math.round(span / 10));
    const moves = {
      ArrowLeft: [Math.max(0, first - step), Math.max(0, first - step) + span],
      ArrowRight: [Math.min(end - span, first + step), Math.min(end, last + step)],
      Home: [0, span], End: [end - span, end],
      "+": [first + span / 4, last - span / 4], "=": [first + span / 4, last - span / 4],
      "-": [Math.max(0, first - span / 2), Math.min(end, last + span / 2)], 0: [null, null], Escape: [null, null],
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (move[0] === null || (move[0] <= 0 && move[1] >= end)) this.onStretch(null, null);
    else this.onStretch(Math.round(move[0]), Math.max(Math.round(move[0]) + 1, Math.round(move[1])));
  }
}
