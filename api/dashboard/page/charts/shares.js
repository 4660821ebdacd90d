// Shares over the course of a search, stacked to a whole, and means as lines.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { axes } from "./axes.js";
import { linear } from "./scale.js";

const AREA = (width, height) => ({ left: 46, right: width - 12, top: 10, bottom: height - 40 });

// Draws stacked shares into a Frame. `at`: places on the axis; `parts`: {name: [share]}.
export function drawShares(frame, at, parts, { label, classOf, message }) {
  const names = Object.keys(parts);
  frame.draw(({ width, height }) => {
    const area = AREA(width, height);
    const x = linear([at[0], Math.max(at.at(-1), at[0] + 1)], [area.left, area.right]);
    const y = linear([0, 1], [area.bottom, area.top]);
    const floor = at.map(() => 0);
    const nodes = [];
    for (const name of names) {
      const top = floor.map((low, i) => low + (parts[name][i] ?? 0));
      const path = `M${at.map((place, i) => `${x(place).toFixed(1)} ${y(top[i]).toFixed(1)}`).join("L")}L${at.map((place, i) => `${x(place).toFixed(1)} ${y(floor[i]).toFixed(1)}`).reverse().join("L")}z`;
      nodes.push(svg("path", { class: `share ${classOf(name)}`, d: path }));
      top.forEach((value, i) => { floor[i] = value; });
    }
    return [...nodes, ...axes({ area, x, y, yFormat: (value) => format.percent(value) }), xNote(label, area, height)];
  }, { message, rows: () => at.map((place, i) => ({ [label]: place, ...Object.fromEntries(names.map((name) => [name, parts[name][i]])) })) });
}

// Draws one line into a Frame.
export function drawLine(frame, at, values, { label, name, message }) {
  const known = values.filter((value) => value !== null);
  frame.draw(({ width, height }) => {
    if (known.length === 0) return [svg("text", { class: "tick", x: 12, y: 24 }, "not in these blocks")];
    const area = AREA(width, height);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const span = Math.max(high - low, Math.abs(high) * 0.02, 1e-3);
    const x = linear([at[0], Math.max(at.at(-1), at[0] + 1)], [area.left, area.right]);
    const y = linear([low - span * 0.1, high + span * 0.1], [area.bottom, area.top]);
    const path = at.map((place, i) => [place, values[i]]).filter(([, value]) => value !== null).map(([place, value]) => `${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    return [...axes({ area, x, y }), svg("path", { class: "mean-line", d: `M${path}` }), xNote(label, area, height)];
  }, { message, rows: () => at.map((place, i) => ({ [label]: place, [name]: values[i] })) });
}

function xNote(label, area, height) {
  return svg("text", { class: "axis-label", x: area.right, y: height - 6, "text-anchor": "end" }, label);
}

// Returns a line as small as a word; null values before the first are left out.
export function sparkline(values, { width = 120, height = 26, label = "" } = {}) {
  const known = values.map((value, i) => [i, value]).filter(([, value]) => value !== null);
  const drawing = svg("svg", { class: "sparkline", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  if (known.length === 0) return drawing;
  const all = known.map(([, value]) => value);
  const x = linear([0, Math.max(1, values.length - 1)], [2, width - 4]);
  const y = linear([Math.min(...all), Math.max(Math.max(...all), Math.min(...all) + 1e-6)], [height - 4, 4]);
  let path = `M${x(known[0][0]).toFixed(1)} ${y(known[0][1]).toFixed(1)}`;
  for (const [i, value] of known.slice(1)) path += `H${x(i).toFixed(1)}V${y(value).toFixed(1)}`;
  const [last, end] = known.at(-1);
  drawing.append(svg("path", { class: "running-best", d: path }), svg("circle", { class: "spark-end", cx: x(last), cy: y(end), r: 2.6 }));
  return drawing;
}
