// Axes, grid and legends as SVG and HTML.

import { element, svg } from "../core/dom.js";
import { SERIES, markPath } from "./marks.js";
import { tickLabel, timeLabel, timeTicks } from "./scale.js";

// Returns the grid and the axes of a plot. `area`: {left, top, right, bottom} in pixels; `x` and `y`
// are scales; `floor` is where the labels of x hang; `time` says that x is in seconds since 1970.
export function axes({ area, floor = area.bottom, x, y, yLabel, time = false, xFormat = null, yFormat = null }) {
  const { left, top, right, bottom } = area;
  const [low, high] = x.domain;
  const across = time ? timeTicks(low, high, Math.max(2, (right - left) / 130)) : x.ticks(Math.max(2, (right - left) / 90));
  const up = y.ticks(Math.max(2, (bottom - top) / 48));
  const nodes = [];
  for (const value of up) {
    const at = y(value);
    if (at < top - 1 || at > bottom + 1) continue;
    nodes.push(
      svg("path", { class: "grid", d: `M${left} ${at}H${right}` }),
      svg("text", { class: "tick", x: left - 7, y: at + 4, "text-anchor": "end" }, yFormat ? yFormat(value) : tickLabel(value, up)),
    );
  }
  for (const value of across) {
    const at = x(value);
    if (at < left - 1 || at > right + 1) continue;
    const label = time ? timeLabel(value, high - low) : xFormat ? xFormat(value) : tickLabel(value, across);
    nodes.push(
      svg("path", { class: "grid", d: `M${at} ${top}V${bottom}` }),
      svg("text", { class: "tick", x: at, y: floor + 17, "text-anchor": at > right - 18 ? "end" : "middle" }, label),
    );
  }
  nodes.push(svg("path", { class: "axis", d: `M${left} ${bottom}H${right}` }));
  if (yLabel) nodes.push(svg("text", { class: "axis-label", x: left - 40, y: top - 9 }, yLabel));
  return nodes;
}

// Returns buttons that show and hide series. `items`: [{key, label, count, hint, series, color}].
export function legendButtons(items, hidden, onToggle) {
  return items.map(({ key, label, count, hint, series, color }) =>
    element(
      "button",
      {
        type: "button",
        class: "legend-item",
        title: hint,
        "data-series": key,
        "aria-pressed": String(!hidden.has(key)),
        on: { click: () => onToggle(key) },
      },
      series ? mark(series) : element("i", { class: `swatch pool-${color}`, "aria-hidden": "true" }),
      element("span", {}, label),
      count === undefined ? null : element("span", { class: "count" }, count),
    ),
  );
}

// Returns the small picture of a series' mark.
export function mark(series) {
  const { filled } = SERIES[series];
  return svg(
    "svg",
    { class: `mark mark-${series}`, viewBox: "-6 -6 12 12", "aria-hidden": "true" },
    svg("path", { class: filled ? "filled" : "open", d: markPath(series, [[0, 0]]) }),
  );
}
