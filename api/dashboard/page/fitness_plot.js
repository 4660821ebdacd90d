// The live scatter of fitness over trial number, with the running best, the baseline and its
// noise, and lanes for the trials that have no fitness. Plotly draws axes and lines and zooms; the
// points are a layer of our own. Zoom and selection outlive every update.

import { element, replace, svg } from "./dom.js";
import * as format from "./format.js";
import { PointLayer } from "./point_layer.js";
import { LANES, SERIES, seriesOf } from "./series.js";
import { cssColor } from "./theme_toggle.js";
import { runningBest } from "./trial_set.js";

const NOISE_BAND = 2; // standard deviations to each side

let loading = null;

// Loads plotly.min.js once, from the address that the page names.
export function loadPlotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = element("script", { src: document.documentElement.dataset.plotly });
    script.addEventListener("load", () => resolve(globalThis.Plotly));
    script.addEventListener("error", () => reject(new Error("the plotting library did not load")));
    document.head.append(script);
  });
  return loading;
}

export class FitnessPlot {
  // `onSelect(number)` is called on a click; `onHide(keys)` when the legend hides series.
  constructor(box, legend, { onSelect, onHide }) {
    this.box = box;
    this.legend = legend;
    this.onHide = onHide;
    this.hidden = new Set();
    this.bound = false;
    this.layer = new PointLayer(box, {
      facts: (row) => facts(row, this.fitnessOf(row)),
      onSelect,
    });
    this.drawMs = 0;
  }

  // Draws the present state. `view`: {searchId, rows, baseline, limit, best, selected, hidden}.
  async draw(view) {
    const plotly = await loadPlotly();
    const started = performance.now();
    this.view = view;
    this.hidden = view.hidden;
    const groups = group(view.rows);
    await plotly.react(this.box, this.traces(), this.layout(), {
      responsive: true,
      displaylogo: false,
      displayModeBar: "hover",
      modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
      doubleClick: "reset",
    });
    this.bind();
    this.layer.show(this.points(groups), this.rings());
    this.drawLegend(groups);
    this.describe(groups);
    this.drawMs = performance.now() - started;
  }

  // The running best, and unseen points that tell Plotly how far the axes reach.
  traces() {
    const values = this.view.rows.map((row) => (laneOf(row) ? null : this.fitnessOf(row)));
    const known = values.filter((value) => value !== null);
    const reach = known.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [-0.05, 0.05]);
    const unseen = { type: "scatter", mode: "markers", marker: { opacity: 0, size: 14 } };
    return [
      { ...unseen, x: [0, 0], y: reach, showlegend: false },
      { ...unseen, x: [0], y: [0], yaxis: "y2", showlegend: false },
      this.bestLine(),
    ];
  }

  // The points by series, those in front last.
  points(groups) {
    return Object.keys(SERIES)
      .filter((key) => !this.hidden.has(key))
      .reverse()
      .map((key) => ({ key, points: groups[key].map((row) => this.point(row)) }));
  }

  point(row) {
    return { row, x: row.number, y: this.fitnessOf(row) };
  }

  rings() {
    const { best, selected } = this.view;
    const rings = [];
    if (best) rings.push({ point: this.point(best), radius: 8, color: "--ink", width: 1.3 });
    if (selected && seriesOf(selected)) {
      rings.push({ point: this.point(selected), radius: 10, color: "--accent", width: 2.4 });
    }
    return rings.map((ring) => ({ ...ring, key: seriesOf(ring.point.row) }));
  }

  // A baseline trial's fitness is its distance to the mean of the repeats.
  fitnessOf(row) {
    if (row.fitness !== null || row.kind !== "baseline") return row.fitness;
    const mean = this.view.baseline?.validation_loss ?? null;
    return mean === null || row.loss === null ? null : mean - row.loss;
  }

  bestLine() {
    const line = runningBest(this.view.rows);
    const last = this.view.rows.at(-1);
    if (line.numbers.length > 0 && last) {
      line.numbers.push(last.number);
      line.values.push(line.values.at(-1));
    }
    return {
      name: "Best so far",
      type: "scatter",
      mode: "lines",
      x: line.numbers,
      y: line.values,
      line: { color: cssColor("--ink"), width: 1.6, shape: "hv" },
      hoverinfo: "skip",
      showlegend: false,
    };
  }

  layout() {
    const ink = cssColor("--muted");
    const grid = cssColor("--grid");
    const last = Math.max(this.view.limit ?? 0, this.view.rows.at(-1)?.number ?? 0, 10);
    const axis = {
      gridcolor: grid,
      zeroline: false,
      linecolor: grid,
      tickfont: { color: ink, size: 11 },
      title: { font: { color: ink, size: 11.5 }, standoff: 10 },
      automargin: true,
    };
    return {
      uirevision: this.view.searchId,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(this.box).fontFamily, size: 12 },
      margin: { l: 56, r: 14, t: 12, b: 42 },
      hovermode: false,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: ink, activecolor: cssColor("--accent") },
      dragmode: "zoom",
      xaxis: {
        ...axis,
        title: { ...axis.title, text: "trial" },
        range: [-last * 0.02, last * 1.02 + 0.5],
        showgrid: false,
        anchor: "y2",
      },
      yaxis: {
        ...axis,
        title: { ...axis.title, text: "fitness (nats a token)" },
        domain: [0.23, 1],
        tickformat: "+.3~f",
      },
      yaxis2: {
        ...axis,
        title: { text: "" },
        domain: [0, 0.16],
        range: [-0.6, LANES.length - 0.4],
        fixedrange: true,
        tickmode: "array",
        tickvals: LANES.map((_, index) => index),
        ticktext: LANES,
      },
      shapes: this.baselineShapes(),
      annotations: this.annotations(),
    };
  }

  baselineShapes() {
    const across = { xref: "paper", x0: 0, x1: 1, yref: "y", layer: "below" };
    const noise = this.view.baseline?.noise ?? null;
    const shapes = [
      {
        ...across,
        type: "line",
        y0: 0,
        y1: 0,
        line: { color: cssColor("--series-baseline"), width: 1.2, dash: "dot" },
      },
    ];
    if (noise !== null) {
      shapes.unshift({
        ...across,
        type: "rect",
        y0: -NOISE_BAND * noise,
        y1: NOISE_BAND * noise,
        fillcolor: cssColor("--noise-band"),
        line: { width: 0 },
      });
    }
    return shapes;
  }

  annotations() {
    const { best } = this.view;
    const notes = [
      {
        xref: "paper",
        x: 1,
        xanchor: "right",
        y: 0,
        yref: "y",
        yanchor: "bottom",
        text: this.view.baseline?.noise ? "baseline ± 2 s.d." : "baseline",
        showarrow: false,
        font: { color: cssColor("--muted"), size: 11 },
      },
    ];
    if (best && this.fitnessOf(best) !== null) {
      notes.push({
        x: best.number,
        y: this.fitnessOf(best),
        text: `best #${best.number}`,
        showarrow: false,
        yshift: 17,
        font: { color: cssColor("--ink"), size: 12 },
      });
    }
    return notes;
  }

  bind() {
    if (this.bound) return;
    this.bound = true;
    for (const event of ["plotly_afterplot", "plotly_relayouting"]) {
      this.box.on(event, () => this.layer.redraw());
    }
  }

  drawLegend(groups) {
    const present = Object.entries(SERIES).filter(
      ([key]) => groups[key].length > 0 || this.hidden.has(key),
    );
    const items = present.map(([key, series]) =>
      element(
        "button",
        {
          type: "button",
          class: "legend-item",
          "data-series": key,
          title: series.hint,
          "aria-pressed": String(!this.hidden.has(key)),
          on: { click: () => this.toggle(key) },
        },
        symbol(key),
        `${series.label} `,
        element("span", { class: "count" }, format.whole(groups[key].length)),
      ),
    );
    const focused = document.activeElement?.dataset?.series;
    replace(this.legend, items);
    if (focused) this.legend.querySelector(`[data-series="${focused}"]`)?.focus();
  }

  toggle(key) {
    const hidden = new Set(this.hidden);
    if (!hidden.delete(key)) hidden.add(key);
    this.onHide([...hidden]);
  }

  describe(groups) {
    const { best } = this.view;
    const parts = Object.entries(SERIES)
      .filter(([key]) => groups[key].length > 0)
      .map(([key, series]) => `${groups[key].length} ${series.label.toLowerCase()}`);
    const peak = best ? ` Best: trial ${best.number}, fitness ${format.fitness(best.fitness)}.` : "";
    this.box.setAttribute("role", "img");
    this.box.setAttribute(
      "aria-label",
      `Fitness over trial number: ${parts.join(", ")}.${peak} The table below holds the same trials.`,
    );
  }
}

function group(rows) {
  const groups = Object.fromEntries(Object.keys(SERIES).map((key) => [key, []]));
  for (const row of rows) {
    const key = seriesOf(row);
    if (key !== null) groups[key].push(row);
  }
  return groups;
}

function laneOf(row) {
  const key = seriesOf(row);
  return key === null || SERIES[key].lane;
}

// Returns the lines that say what a trial is when the pointer is over its point.
function facts(row, fitness) {
  const lines = [`#${row.number}  ${format.name(format.standing(row))}`];
  if (fitness !== null && row.status === "completed") {
    lines.push(
      `fitness ${format.fitness(fitness)}, loss ${format.fixed(row.loss, 3)}`,
      `step ${format.milliseconds(row.stepTimeMs)}, ${format.count(row.parameters)} parameters`,
    );
  }
  if (row.parent !== null) lines.push(`from #${row.parent}: ${row.mutation}`);
  return lines;
}

// Returns the mark of a series as a small picture, the same shape as in the plot.
export function symbol(key) {
  const shapes = {
    circle: () => svg("circle", { cx: 6, cy: 6, r: 4.2, class: "filled" }),
    "circle-open": () => svg("circle", { cx: 6, cy: 6, r: 3.8, class: "open" }),
    "square-open": () => svg("rect", { x: 2.4, y: 2.4, width: 7.2, height: 7.2, class: "open" }),
    "star-open": () => svg("path", { d: "M6 1 10.3 8.5H1.7ZM6 11 1.7 3.5h8.6Z", class: "open" }),
    diamond: () => svg("path", { d: "M6 1 11 6 6 11 1 6Z", class: "filled" }),
    "triangle-down": () => svg("path", { d: "M1.2 2.2h9.6L6 10.6Z", class: "filled" }),
    cross: () => svg("path", { d: "M2.2 2.2 9.8 9.8M9.8 2.2 2.2 9.8", class: "open" }),
  };
  return svg(
    "svg",
    { viewBox: "0 0 12 12", class: `mark mark-${key}`, "aria-hidden": "true" },
    shapes[SERIES[key].symbol](),
  );
}
