// Means with intervals, one row a group: what helps and what harms.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { axes } from "./axes.js";
import { linear } from "./scale.js";

const ROW = 24;

// Draws into a Frame. `groups`: [{label, mean, low, high, count}], in the order to be shown.
export function drawIntervals(frame, groups, { message, rows, unit }) {
  frame.height = groups.length * ROW + 60;
  const values = groups.flatMap((one) => [one.mean, one.low, one.high]).filter((value) => value !== null);
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const span = Math.max(high - low, 1e-4);
  frame.draw(({ width, height }) => {
    const narrow = width < 520;
    const area = { left: narrow ? 130 : 210, right: width - 74, top: 8, bottom: height - 40 };
    const x = linear([low - span * 0.04, high + span * 0.04], [area.left, area.right]);
    const nodes = axes({ area, x, y: Object.assign(linear([0, 1], [0, 1]), { ticks: () => [] }) });
    nodes.push(svg("text", { class: "axis-label", x: area.right, y: height - 6, "text-anchor": "end" }, unit));
    nodes.push(svg("path", { class: "zero", d: `M${x(0)} ${area.top}V${area.bottom}` }));
    groups.forEach((one, index) => {
      const y = area.top + (index + 0.5) * ROW;
      const sure = one.low !== null && (one.low > 0 || one.high < 0);
      const tone = !sure ? "unsure" : one.mean > 0 ? "helps" : "harms";
      nodes.push(svg("text", { class: "row-label", x: area.left - 10, y: y + 4, "text-anchor": "end" }, shortened(one.label, narrow ? 19 : 32)));
      if (one.low !== null) nodes.push(svg("path", { class: `interval ${tone}`, d: `M${x(one.low)} ${y}H${x(one.high)}` }));
      if (one.mean !== null) nodes.push(svg("circle", { class: `interval-mean ${tone}`, cx: x(one.mean), cy: y, r: 4.2 }));
      nodes.push(svg("text", { class: "tick", x: width - 6, y: y + 4, "text-anchor": "end" }, `n ${format.whole(one.count)}`));
    });
    return nodes;
  }, { message, rows });
}

function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
