// Gain against step time, with each pool's front and the slowest step that is allowed. A step time
// is comparable within its pool only: the axis is the multiple of the pool's own baseline, in
// milliseconds as well while one pool is shown.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { axes } from "./axes.js";
import { Frame } from "./frame.js";
import { markPath } from "./marks.js";
import { Pointer, opening } from "./pointer.js";
import { linear } from "./scale.js";

const MARGIN = { left: 56, top: 26, right: 14, bottom: 40 };

export class StepTimeChart {
  constructor(box, on) {
    this.frame = new Frame(box, { title: "Gain against step time", file: "step-time", height: 330 });
    this.on = on;
    this.marks = [];
    this.pointer = new Pointer({ frame: this.frame, marks: () => this.marks, area: () => this.area, opens: Boolean(on.pick) });
  }

  // `view`: {front (a Front), data (an Overview), hidden, best}.
  draw(view) {
    this.view = view;
    this.marks = [];
    if (view.front.number.length === 0) {
      this.frame.drawNothing("No candidate with a measured step time yet");
      return;
    }
    this.frame.draw((size) => this.paint(size), { message: message(view), rows: () => rowsOf(view.front), ringed: () => this.marks.findLast((mark) => mark.number === this.selected) });
  }

  // Rings a trial's mark; null rings none.
  select(number) {
    if (this.selected === number) return;
    this.selected = number;
    this.frame.ring();
  }

  paint({ width, height }) {
    const { front, data, hidden } = this.view;
    const area = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom };
    this.area = area;
    const several = data.pools.length > 1;
    const points = this.points().filter((one) => !hidden.has(`pool:${data.pools[one.pool]}`));
    const level = levelsByPool(data);
    const limits = data.levels.filter((one) => one.limit_ms && one.step_time_ms).map((one) => one.limit_ms / one.step_time_ms);
    const xs = [...points.map((one) => one.ratio), 1, ...limits];
    const ys = points.map((one) => one.fitness);
    const x = linear(padded(xs, 0.05), [area.left, area.right]);
    const y = linear(padded(ys.length ? trimmed(ys) : [-0.01, 0.01], 0.08), [area.bottom, area.top]);
    const only = data.levels.length === 1 ? data.levels[0].step_time_ms : null;
    const nodes = axes({
      area, x, y, yLabel: "nats a token better than its pool's baseline",
      xFormat: only ? (value) => `${Number(value.toFixed(2))}× (${format.milliseconds(value * only)})` : (value) => `${Number(value.toFixed(2))}×`,
    });
    nodes.push(svg("text", { class: "axis-label", x: area.right, y: height - 4, "text-anchor": "end" }, "step time, as a multiple of the baseline's on the same pool"));
    nodes.push(svg("path", { class: "zero", d: `M${x(1)} ${area.top}V${area.bottom}` }), limitLines(limits, x, area));
    this.marks = [];
    const clip = (value) => Math.min(area.bottom, Math.max(area.top, y(value)));
    const largest = Math.max(1, ...points.map((one) => one.count));
    const groups = new Map();
    for (const one of points) {
      const place = [x(one.ratio), clip(one.fitness)];
      const key = several ? one.pool : "only";
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push([...place, one.count > 1 ? 2 + 5 * Math.sqrt(one.count / largest) : 2.6]);
      this.marks.push({ x: place[0], y: place[1], number: one.number, label: () => tip(one, data, level), open: opening(this.on.pick, one.number) });
    }
    for (const [key, places] of groups) {
      const path = places.map(([px, py, r]) => `M${(px - r).toFixed(1)} ${py.toFixed(1)}a${r.toFixed(1)} ${r.toFixed(1)} 0 1 0 ${(2 * r).toFixed(1)} 0a${r.toFixed(1)} ${r.toFixed(1)} 0 1 0 ${(-2 * r).toFixed(1)} 0z`).join("");
      nodes.push(svg("path", { class: `cloud ${several ? `pool-${key}` : ""}`, d: path }));
    }
    nodes.push(...this.fronts(x, clip, several));
    return nodes;
  }

  // Single trials where they are few, else the cells of the controller's grid.
  points() {
    const { front, data } = this.view;
    if (front.cells.count.length) {
      const { cells } = front;
      return cells.count.map((count, i) => ({ number: cells.best[i], pool: cells.pool[i], ratio: cells.ratio[i], fitness: cells.fitness[i], count }));
    }
    const level = levelsByPool(data);
    const { points } = data;
    return points.number.flatMap((number, i) => {
      const base = level.get(points.pool[i])?.step_time_ms;
      if (points.kind[i] !== "candidate" || points.fitness[i] === null || !base || points.step_time_ms[i] === null) return [];
      return [{ number, pool: points.pool[i], ratio: points.step_time_ms[i] / base, fitness: points.fitness[i], count: 1 }];
    });
  }

  fronts(x, y, several) {
    const { front, data, hidden } = this.view;
    const nodes = [];
    data.pools.forEach((name, pool) => {
      if (hidden.has(`pool:${name}`)) return;
      const at = front.number.map((_, i) => i).filter((i) => front.pool[i] === pool);
      if (at.length === 0) return;
      const places = at.map((i) => [x(front.ratio[i]), y(front.fitness[i])]);
      let path = `M${places[0].map((v) => v.toFixed(1)).join(" ")}`;
      for (const [px, py] of places.slice(1)) path += `H${px.toFixed(1)}V${py.toFixed(1)}`;
      const color = several ? `pool-${pool}` : "";
      nodes.push(svg("path", { class: `front-line ${color}`, d: path }), svg("path", { class: `front-marks ${color}`, d: markPath("running", places) }));
      at.forEach((i, k) => {
        this.marks.push({ x: places[k][0], y: places[k][1], number: front.number[i], label: () => [`#${front.number[i]}, on the front of ${name}`, `${format.fitness(front.fitness[i])}, ${ratio(front.ratio[i])}`], open: opening(this.on.pick, front.number[i]) });
      });
    });
    return nodes;
  }
}

function levelsByPool(data) {
  return new Map(data.levels.map((level) => [data.pools.indexOf(level.pool), level]));
}

function padded(values, share) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = Math.max(high - low, 1e-3);
  return [low - span * share, high + span * share];
}

function trimmed(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return [sorted[Math.floor(sorted.length * 0.02)], sorted.at(-1)];
}

function limitLines(limits, x, area) {
  const distinct = [...new Set(limits.map((value) => value.toFixed(2)))].map(Number);
  return distinct.flatMap((value, row) => [
    svg("path", { class: "limit", d: `M${x(value)} ${area.top}V${area.bottom}` }),
    svg("text", { class: "tick halo", x: x(value) - 5, y: area.top + 11 + 14 * row, "text-anchor": "end" }, "slowest allowed"),
  ]);
}

function ratio(value) {
  return `${value.toFixed(2)}× the baseline's step time`;
}

function tip(one, data, level) {
  const base = level.get(one.pool)?.step_time_ms;
  const lines = [`#${one.number}, ${data.pools[one.pool]}`, `${format.fitness(one.fitness)}, ${ratio(one.ratio)}`];
  if (base) lines.push(`${format.milliseconds(one.ratio * base)} a step`);
  if (one.count > 1) lines.push(`the best of ${format.whole(one.count)} trials here`);
  return lines;
}

function message({ front, data }) {
  if (front.number.length === 0) return "No candidate with a measured step time yet.";
  const said = data.pools.flatMap((name, pool) => {
    const own = front.ratio.map((value, i) => [value, front.fitness[i], front.pool[i]]).filter((one) => one[2] === pool);
    if (own.length === 0) return [];
    const [value, fitness] = own.at(-1);
    return [`on ${name} the best of ${own.length} compromise${own.length === 1 ? "" : "s"} gains ${format.fitness(fitness)} at ${value.toFixed(2)}× the baseline's step time`];
  });
  return `Single runs: ${said.join("; ")}.`;
}

function rowsOf(front) {
  return front.number.map((number, i) => ({ number, pool: front.pools[front.pool[i]], step_time_ratio: front.ratio[i], fitness: front.fitness[i] }));
}
