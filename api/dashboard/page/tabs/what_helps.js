// What helps: by how much children beat their parents, by kind of mutation and by gene.

import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { showEmpty } from "../core/states.js";
import { drawIntervals } from "../charts/bars.js";
import { Frame } from "../charts/frame.js";

const FEWEST = 3;
const MOST_GENES = 24;

export class WhatHelpsTab {
  constructor(panel, { session }) {
    Object.assign(this, { panel, session });
  }

  close() {
    this.operators?.close();
    this.genes?.close();
  }

  read() {
    return this.session.get("/charts/gains", this.session.stretch());
  }

  show(data) {
    if (data.operators.every((one) => one.pairs === 0)) {
      this.close();
      this.operators = null;
      showEmpty(this.panel, "No child and parent have both completed on the same pool yet. Once some have, this shows which mutations pay off.");
      return;
    }
    if (!this.operators || !this.grid.isConnected) {
      this.close();
      const [left, right] = [element("div", {}), element("div", {})];
      this.grid = element("div", { class: "two-charts" }, left, right);
      replace(
        this.panel,
        element("p", { class: "tab-note" }, "Gain of a child over its parent, both on the same pool: mean with its 95% interval. Parents are chosen for having come out well, so a change without effect has a mean below zero; compare the groups with one another rather than with zero."),
        this.grid,
      );
      this.operators = new Frame(left, { title: "By kind of mutation", file: "gains-by-mutation" });
      this.genes = new Frame(right, { title: "By gene", file: "gains-by-gene" });
    }
    this.draw(this.operators, data.operators, (one) => one.operator);
    this.draw(this.genes, data.genes.filter((one) => one.pairs >= FEWEST).slice(0, MOST_GENES), (one) => one.gene || one.operator);
  }

  draw(frame, groups, labelOf) {
    const known = groups.filter((one) => one.mean !== null).sort((a, b) => b.mean - a.mean);
    const shown = known.map((one) => ({ label: format.name(labelOf(one)), mean: one.mean, low: one.low, high: one.high, count: one.pairs }));
    const [top] = known;
    drawIntervals(frame, shown, {
      unit: "nats a token, child minus parent",
      message: top ? `Highest: ${format.name(labelOf(top))}, ${format.fitness(top.mean)} over ${format.whole(top.pairs)} pairs, better in ${format.percent(top.better / top.pairs)}; ${format.whole(top.lost)} more were pruned.` : "Too few pairs yet.",
      rows: () => groups,
    });
  }
}
