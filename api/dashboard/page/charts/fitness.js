// Fitness over trials or over time: every trial of a short stretch, bands of quantiles of a long
// one, with the running best, the baseline's noise and the ageing of the population.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { axes, legendButtons } from "./axes.js";
import { bandMarks, bandPaths, bestLine, clipped } from "./bands.js";
import { Frame } from "./frame.js";
import { LANES, SERIES, markPath, seriesOf } from "./marks.js";
import { Pointer, opening } from "./pointer.js";
import { below, linear } from "./scale.js";

const LANE = 17;
const MARGIN = { left: 56, top: 26, right: 14, bottom: 40 };

export class FitnessChart {
  // `on`: {stretch(from, to) in trial numbers or nulls, pick(number), hide(keys)}; without the first
  // two there is no brush, and no mark opens.
  constructor(box, on) {
    this.on = on;
    this.frame = new Frame(box, { title: "Fitness of every trial", file: "fitness", height: 330 });
    this.pointer = new Pointer({
      frame: this.frame,
      marks: () => this.marks,
      area: () => this.area,
      onStretch: on.stretch && ((from, to) => (from === null ? on.stretch(null, null) : on.stretch(...this.numbersBetween(from, to)))),
      onZoom: on.stretch && ((factor, place) => this.zoom(factor, place)),
      opens: Boolean(on.pick),
    });
    this.marks = [];
  }

  // `view`: {data (an Overview), time, log, hidden, best, members}; `best` is a BestRecord,
  // `members` how many of the population completed, where `data` is a part of the search.
  draw(view) {
    this.view = view;
    const { data, hidden } = view;
    const counted = { population: 0, aged: 0, ...countSeries(data.kinds) };
    counted.population = Math.min(view.members ?? membersOf(data), counted.aged);
    counted.aged -= counted.population;
    const series = Object.keys(SERIES).filter((key) => counted[key] > 0);
    const items = series.map((key) => ({ key, series: key, label: SERIES[key].label, hint: SERIES[key].hint, count: format.whole(counted[key]) }));
    const pools = data.pools.length > 1
      ? data.pools.map((name, color) => ({ key: `pool:${name}`, label: name, color, hint: `pool ${name}` }))
      : [];
    const buttons = legendButtons([...items, ...pools], hidden, (key) => this.on.hide(toggled(hidden, key)));
    const focused = document.activeElement?.dataset?.series;
    this.frame.legend.replaceChildren(...buttons);
    if (focused) this.frame.legend.querySelector(`[data-series="${focused}"]`)?.focus();
    this.marks = [];
    if (data.points.number.length === 0 && data.bands.length === 0) {
      this.frame.drawNothing(data.total === 0 ? "No trial yet" : "No trial in this stretch");
      return;
    }
    this.frame.draw((size) => this.paint(size), { message: message(view), rows: () => rowsOf(data), ringed: () => this.marks.find((mark) => mark.number === this.selected && !mark.stretch) });
  }

  // Rings a trial's mark; null rings none.
  select(number) {
    if (this.selected === number) return;
    this.selected = number;
    this.frame.ring();
  }

  // Shows another stretch while it moves: the picture alone, not what is said and counted beside it.
  pan(data) {
    this.view = { ...this.view, data };
    this.frame.paint();
  }

  paint({ width, height }) {
    const { data, time, log, hidden } = this.view;
    const shown = this.shown();
    const lanes = LANES.filter((lane) => !hidden.has(lane) && shown.some((one) => one.series === lane));
    const area = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom - lanes.length * LANE };
    this.area = { ...area, bottom: height - MARGIN.bottom };
    const [earliest, latest] = this.xDomain();
    const x = linear([earliest, latest], [area.left + 6, area.right - 6]);
    const domain = yDomain(data, shown);
    const y = log ? below(domain[1], domain, [area.bottom, area.top]) : linear(domain, [area.bottom, area.top]);
    this.x = x;
    const inside = (value) => Math.min(area.bottom, Math.max(area.top, y(value)));
    const nodes = axes({ area, floor: area.bottom + lanes.length * LANE, x, y, yLabel: "nats a token better than its pool's baseline", time, yFormat: log ? (value) => format.fixed(value, y.digits) : null });
    if (lanes.length) nodes.push(...laneLabels(lanes, area));
    nodes.push(svg("text", { class: "axis-label", x: area.right, y: height - 4, "text-anchor": "end" }, time ? "time of completion" : "trial"));
    nodes.push(...noiseBand(data, area, y), zeroLine(area, y));
    const bands = data.bands.filter((band) => band.number.length > 0 && !hidden.has(`pool:${data.pools[band.pool]}`));
    nodes.push(clipped(area, ...bands.flatMap((band) => bandPaths(band, x, inside, time, data.pools.length > 1)), bestLine(data.best, x, inside, time, latest)));
    this.marks = [];
    const groups = new Map();
    let under = 0;
    for (const one of shown) {
      if (one.series === null || hidden.has(one.series)) continue;
      const lane = SERIES[one.series].lane ? lanes.indexOf(one.series) : -1;
      if (lane < 0 && one.fitness === null) continue;
      const px = x(time ? one.finished ?? latest : one.number);
      const py = lane >= 0 ? area.bottom + (lane + 0.5) * LANE + 4 : inside(one.fitness);
      if (lane < 0 && one.fitness < domain[0]) under += 1;
      const key = `${one.series} ${data.pools.length > 1 ? one.pool : ""}`;
      if (!groups.has(key)) groups.set(key, { series: one.series, pool: data.pools.length > 1 ? one.pool : null, places: [] });
      groups.get(key).places.push([px, py]);
      this.marks.push({ x: px, y: py, number: one.number, series: one.series, label: () => tip(one, data), open: opening(this.on.pick, one.number) });
    }
    for (const { series, pool, places } of groups.values()) {
      const color = pool === null ? `mark-${series}` : `mark-${series} pool-${pool}`;
      nodes.push(svg("path", { class: `points ${color} ${SERIES[series].filled ? "filled" : "open"}`, d: markPath(series, places) }));
    }
    for (const band of data.bands) this.marks.push(...bandMarks(band, data, x, inside, time, this.on.stretch));
    if (under) nodes.push(svg("text", { class: "tick halo", x: area.left + 4, y: area.bottom - 5 }, `${under} below ${format.fitness(domain[0])}`));
    nodes.push(...this.confirmedMark(x, inside, time));
    return nodes;
  }

  // The mean of the best block's fresh runs, with their standard deviation: the figure that counts.
  confirmedMark(x, y, time) {
    const { best } = this.view;
    if (!best || !best.repeats || best.mean_fitness === null) return [];
    const at = time ? Date.parse(best.trial.finished_at) / 1000 : best.trial.number;
    const [low, high] = x.domain;
    if (at < low || at > high) return [];
    const place = [x(at), y(best.mean_fitness)];
    const spread = best.deviation ?? 0;
    return [
      svg("path", { class: "confirmed-spread", d: `M${place[0]} ${y(best.mean_fitness - spread)}V${y(best.mean_fitness + spread)}` }),
      svg("path", { class: "confirmed", d: markPath("confirmation", [place]) }),
      svg("text", { class: "confirmed-label", x: place[0] + (place[0] > this.frame.width - 150 ? -10 : 10), y: place[1] - 8, "text-anchor": place[0] > this.frame.width - 150 ? "end" : "start" }, `best, confirmed ${format.fitness(best.mean_fitness)}`),
    ];
  }

  shown() {
    const { data, hidden } = this.view;
    const { points } = data;
    const found = [];
    for (let i = 0; i < points.number.length; i += 1) {
      if (points.pool[i] >= 0 && hidden.has(`pool:${data.pools[points.pool[i]]}`)) continue;
      const one = {
        number: points.number[i], kind: points.kind[i], status: points.status[i], pool: points.pool[i], fitness: points.fitness[i],
        finished: points.finished[i], step: points.step_time_ms[i], parent: points.parent[i], member: points.member[i],
      };
      one.series = seriesOf(one);
      found.push(one);
    }
    return found;
  }

  xDomain() {
    const { data, time } = this.view;
    if (!time) return [data.first, Math.max(data.last, data.first + 1)];
    const known = [...data.points.finished, ...data.bands.flatMap((band) => band.finished)].filter((at) => at !== null);
    if (known.length === 0) return [Date.now() / 1000 - 60, Date.now() / 1000];
    const [low, high] = extent(known);
    return [low, Math.max(high, low + 1)];
  }

  // Returns the trial numbers that lie between two places.
  numbersBetween(from, to) {
    const [low, high] = [this.x.invert(from), this.x.invert(to)];
    if (!this.view.time) return [Math.max(0, Math.ceil(low)), Math.max(1, Math.floor(high))];
    const inside = this.marks.filter((mark) => mark.x >= from && mark.x <= to).map((mark) => mark.number);
    return inside.length ? extent(inside) : [this.view.data.first, this.view.data.last];
  }

  zoom(factor, place) {
    const { data } = this.view;
    const middle = place === null || this.view.time ? (data.first + data.last) / 2 : this.x.invert(place);
    const half = Math.max(2, ((data.last - data.first) / 2) * factor);
    if (factor > 1 && middle - half <= 0 && middle + half >= data.total) this.on.stretch(null, null);
    else this.on.stretch(Math.max(0, Math.round(middle - half)), Math.round(middle + half));
  }
}

// Returns how many members of the population completed.
export function membersOf(data) {
  return data.points.member.filter((inside, i) => inside && data.points.status[i] === "completed").length;
}

function extent(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

function toggled(hidden, key) {
  const next = new Set(hidden);
  if (!next.delete(key)) next.add(key);
  return [...next];
}

// Returns the range of y: what there is, not what might be; stragglers far below are cut off.
export function yDomain(data, shown) {
  const values = shown.map((one) => one.fitness).filter((value) => value !== null);
  const banded = data.bands.flatMap((band) => [...band.lower, ...band.high]).filter((value) => value !== null);
  const all = [...values, ...banded].sort((a, b) => a - b);
  if (all.length === 0) return [-0.01, 0.01];
  const low = banded.length ? all[0] : all[Math.floor(all.length * 0.03)];
  const high = Math.max(all.at(-1), ...data.best.fitness.filter((value) => value !== null));
  if (high - low < 1e-4) return [low - 0.005, high + 0.005]; // all the same: no ticks of nothing
  const span = high - low;
  const floor = low > 0 && low < span * 0.6 ? 0 : low;
  const ceiling = high < 0 && -high < span * 0.6 ? 0 : high;
  return [floor - span * 0.06, ceiling + span * 0.1];
}

function countSeries(kinds) {
  const found = {};
  for (const [kind, statuses] of Object.entries(kinds)) {
    for (const [status, count] of Object.entries(statuses)) {
      const key = seriesOf({ kind, status, member: false });
      if (key) found[key] = (found[key] ?? 0) + count;
    }
  }
  return found;
}

function noiseBand(data, area, y) {
  const noise = Math.max(0, ...data.levels.map((level) => level.noise ?? 0));
  if (!noise) return [];
  const [top, bottom] = [Math.max(area.top, y(2 * noise)), Math.min(area.bottom, y(-2 * noise))];
  return bottom > top ? [svg("rect", { class: "noise", x: area.left, width: area.right - area.left, y: top, height: bottom - top })] : [];
}

function zeroLine(area, y) {
  const at = y(0);
  return at > area.top && at < area.bottom ? svg("path", { class: "zero", d: `M${area.left} ${at}H${area.right}` }) : null;
}

function laneLabels(lanes, area) {
  return lanes.map((lane, index) =>
    svg("text", { class: "tick", x: area.left - 7, y: area.bottom + (index + 0.5) * LANE + 8, "text-anchor": "end" }, lane),
  );
}

function tip(one, data) {
  const pool = one.pool >= 0 ? `, ${data.pools[one.pool]}` : "";
  const lines = [`#${one.number} ${one.kind}${pool}`];
  if (one.fitness !== null) lines.push(`${format.fitness(one.fitness)} in one run${one.step ? `, ${format.milliseconds(one.step)} a step` : ""}`);
  else lines.push(one.status);
  if (one.parent !== null) lines.push(`child of #${one.parent}`);
  return lines;
}

function message({ data, best }) {
  const done = data.kinds.candidate?.completed ?? 0;
  if (done === 0) return "No candidate has completed yet.";
  const last = data.best.fitness.at(-1);
  const shown = data.bands.length ? "Shaded: quartiles and extremes of stretches of trials. " : "";
  const single = last === undefined || last === null ? "" : `The line is the best single run so far (${format.fitness(last)}), which flatters; `;
  const sure = best?.repeats ? `the star is the mean of the best block's ${best.repeats} fresh runs.` : "no block has been confirmed by fresh runs yet.";
  const noise = data.levels.find((level) => level.noise);
  const band = noise ? ` Grey: twice the noise of ${noise.repeats} repeats of the baseline.` : "";
  return `${shown}${single}${sure}${band}`;
}

function rowsOf(data) {
  const { points } = data;
  if (data.bands.length === 0) {
    return points.number.map((number, i) => ({
      number, kind: points.kind[i], status: points.status[i], pool: data.pools[points.pool[i]] ?? "", parent: points.parent[i],
      fitness: points.fitness[i], step_time_ms: points.step_time_ms[i], parameters: points.parameters[i],
    }));
  }
  return data.bands.flatMap((band) =>
    band.number.map((first, i) => ({
      pool: data.pools[band.pool], first, last: first + band.width - 1, count: band.count[i], low: band.low[i],
      lower_quartile: band.lower[i], median: band.median[i], upper_quartile: band.upper[i], high: band.high[i],
    })),
  );
}
