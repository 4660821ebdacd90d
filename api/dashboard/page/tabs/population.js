// What candidates are made of as the search goes on: kinds, gating, widths.

import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { showEmpty } from "../core/states.js";
import { Frame } from "../charts/frame.js";
import { drawLine, drawShares } from "../charts/shares.js";

export class PopulationTab {
  constructor(panel, { session }) {
    Object.assign(this, { panel, session, frames: new Map() });
  }

  close() {
    for (const frame of this.frames.values()) frame.close();
  }

  read() {
    return this.session.get("/charts/composition", this.session.stretch());
  }

  show(data) {
    if (data.first.length === 0) {
      this.close();
      this.frames.clear();
      showEmpty(this.panel, "No candidate has ended yet. Once some have, this shows what blocks are made of as the search goes on.");
      return;
    }
    const at = data.first;
    const label = "candidates that had ended";
    this.stacked("kinds", "Sub-layers by kind", at, data.kinds, label, (name) => `kind-${name}`);
    if (Object.keys(data.gatings).length) this.stacked("gatings", "Experts by gating", at, data.gatings, label, (name) => `gating-${name}`);
    for (const [name, values] of Object.entries(data.widths)) {
      const title = `Mean ${format.name(name.split(" ")[0])}${name.includes(" ") ? ` ${name.split(" ").slice(1).join(" ")}` : ""}`;
      drawLine(this.frame(`width-${name}`, title), at, values, { label, name, message: change(values) });
    }
  }

  stacked(key, title, at, parts, label, classOf) {
    const frame = this.frame(key, title);
    frame.legend.replaceChildren(...Object.keys(parts).map((name) => element("span", { class: "legend-item" }, element("i", { class: `swatch ${classOf(name)}`, "aria-hidden": "true" }), format.name(name))));
    const said = Object.entries(parts).map(([name, values]) => `${format.name(name)} ${format.percent(values[0] ?? 0)} → ${format.percent(values.at(-1) ?? 0)}`);
    drawShares(frame, at, parts, { label, classOf, message: `From the first stretch to the last: ${said.join(", ")}.` });
  }

  frame(key, title) {
    if (!this.grid?.isConnected) {
      this.frames.clear();
      this.grid = element("div", { class: "small-charts" });
      replace(this.panel, this.grid);
    }
    if (!this.frames.has(key)) {
      const box = element("div", {});
      this.grid.append(box);
      this.frames.set(key, new Frame(box, { title, file: key.replaceAll(" ", "-"), height: 190 }));
    }
    return this.frames.get(key);
  }
}

function change(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? `From ${format.fixed(known[0], 1)} to ${format.fixed(known.at(-1), 1)}.` : "Not in these blocks.";
}
