// Births against fitness: the population with all its ancestors, the best one's line in bold.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { axes } from "./axes.js";
import { Frame } from "./frame.js";
import { markPath, seriesOf } from "./marks.js";
import { Pointer, opening } from "./pointer.js";
import { linear } from "./scale.js";

export class LineageChart {
  constructor(box, { title, onPick }) {
    this.frame = new Frame(box, { title, file: "lineage", height: 440 });
    this.onPick = onPick;
    this.marks = [];
    this.pointer = new Pointer({ frame: this.frame, marks: () => this.marks, area: () => this.area, opens: Boolean(onPick) });
  }

  // `data` is a Lineage; `selected` a trial number or null.
  draw(data, { selected, message }) {
    this.frame.draw((size) => this.paint(data, selected, size), { message, rows: () => rowsOf(data) });
  }

  paint(data, selected, { width, height }) {
    const area = { left: 56, right: width - 14, top: 26, bottom: height - 40 };
    this.area = area;
    const { number, fitness, parent } = data;
    const known = fitness.filter((value) => value !== null).sort((a, b) => a - b);
    const low = known[Math.floor(known.length * 0.02)] ?? -0.01;
    const high = known.at(-1) ?? 0.01;
    const span = Math.max(high - low, 1e-4);
    const x = linear([number[0] ?? 0, Math.max(number.at(-1) ?? 1, (number[0] ?? 0) + 1)], [area.left + 8, area.right - 8]);
    const y = linear([low - span * 0.08, high + span * 0.08], [area.bottom, area.top]);
    const at = new Map(number.map((one, i) => [one, i]));
    const clip = (value) => Math.min(area.bottom, Math.max(area.top, value === null ? area.bottom : y(value)));
    const place = (i) => [x(number[i]), clip(fitness[i])];
    const edge = (i) => {
      const from = at.get(parent[i]);
      if (from === undefined) return "";
      const [a, b] = [place(from), place(i)];
      const middle = (a[0] + b[0]) / 2;
      return `M${a[0].toFixed(1)} ${a[1].toFixed(1)}C${middle.toFixed(1)} ${a[1].toFixed(1)} ${middle.toFixed(1)} ${b[1].toFixed(1)} ${b[0].toFixed(1)} ${b[1].toFixed(1)}`;
    };
    const line = new Set(data.best);
    const nodes = axes({ area, x, y, yLabel: "nats a token better than its pool's baseline" });
    nodes.push(svg("text", { class: "axis-label", x: area.right, y: height - 4, "text-anchor": "end" }, "trial, in order of birth"));
    nodes.push(svg("path", { class: "lineage-edges", d: number.map((_, i) => (line.has(number[i]) && line.has(parent[i]) ? "" : edge(i))).join("") }));
    nodes.push(svg("path", { class: "lineage-best", d: number.map((_, i) => (line.has(number[i]) && line.has(parent[i]) ? edge(i) : "")).join("") }));
    const groups = {};
    this.marks = number.map((one, i) => {
      const series = seriesOf({ status: data.status[i], kind: "candidate", member: data.member[i] }) ?? "running";
      (groups[series] ??= []).push(place(i));
      const [px, py] = place(i);
      return {
        x: px, y: py, number: one, open: opening(this.onPick, one),
        label: () => [`#${one}${line.has(one) ? ", in the line of the best" : ""}`, fitness[i] === null ? data.status[i] : format.fitness(fitness[i]), ...(parent[i] === null ? [] : [`child of #${parent[i]}`])],
      };
    });
    for (const [series, places] of Object.entries(groups)) {
      nodes.push(svg("path", { class: `points mark-${series} ${series === "aged" || series === "failed" ? "open" : "filled"}`, d: markPath(series, places) }));
    }
    const best = data.best.map((one) => at.get(one)).filter((i) => i !== undefined).map(place);
    if (best.length) nodes.push(svg("path", { class: "lineage-marks", d: markPath("population", best) }));
    const chosen = at.get(selected);
    if (chosen !== undefined) nodes.push(svg("circle", { class: "selected", cx: place(chosen)[0], cy: place(chosen)[1], r: 9 }));
    return nodes;
  }
}

function rowsOf(data) {
  return data.number.map((number, i) => ({ number, parent: data.parent[i], fitness: data.fitness[i], status: data.status[i], pool: data.pools[data.pool[i]] ?? "", member: data.member[i], in_best_line: data.best.includes(number) }));
}
