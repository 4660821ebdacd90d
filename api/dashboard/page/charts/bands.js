// Stretches of trials as bands: quartiles and extremes shaded, the median a line, and the line of the
// best single run so far.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";

// Returns the paths of one pool's bands. `x` and `y` are scales.
export function bandPaths(band, x, y, time, coloured) {
  const across = band.number.map((number, i) => x(time ? band.finished[i] : number + band.width / 2).toFixed(1));
  const line = (values) => values.map((value, i) => `${across[i]} ${y(value).toFixed(1)}`);
  const stretch = (low, high) => `M${line(high).join("L")}L${line(low).reverse().join("L")}z`;
  const color = coloured ? `pool-${band.pool}` : "";
  return [
    svg("path", { class: `band-wide ${color}`, d: stretch(band.low, band.high) }),
    svg("path", { class: `band-narrow ${color}`, d: stretch(band.lower, band.upper) }),
    svg("path", { class: `band-median ${color}`, d: `M${line(band.median).join("L")}` }),
  ];
}

// Returns what is where: a mark for each stretch of a band.
export function bandMarks(band, data, x, y, time, zoomTo) {
  return band.number.map((number, i) => ({
    x: x(time ? band.finished[i] : number + band.width / 2),
    y: y(band.median[i]),
    number,
    stretch: true,
    label: () => [
      `trials ${format.whole(number)} to ${format.whole(number + band.width - 1)}, ${data.pools[band.pool]}`,
      `median ${format.fitness(band.median[i])}, half within ${format.fitness(band.lower[i])} to ${format.fitness(band.upper[i])}`,
      `best ${format.fitness(band.high[i])} of ${format.whole(band.count[i])}${zoomTo ? "; Enter or click zooms in" : ""}`,
    ],
    open: zoomTo && (() => zoomTo(Math.max(0, number - band.width * 8), number + band.width * 9)),
  }));
}

export function bestLine(best, x, y, time, end) {
  const at = time ? best.finished : best.number;
  if (at.length === 0) return null;
  const from = x.domain[0];
  let path = `M${x(Math.max(from, at[0])).toFixed(1)} ${y(best.fitness[0]).toFixed(1)}`;
  for (let i = 1; i < at.length; i += 1) path += `H${x(Math.max(from, at[i])).toFixed(1)}V${y(best.fitness[i]).toFixed(1)}`;
  return svg("path", { class: "running-best", d: `${path}H${x(end).toFixed(1)}` });
}

// Returns nodes that show only what lies within `area`, with a little room for the width of lines.
// An element of its own rather than a clip path: a picture that is saved or stands in a report needs
// no name for it that might clash.
export function clipped({ left, right, top, bottom }, ...nodes) {
  const [width, height] = [right - left, bottom - top + 4];
  return svg("svg", { x: left, y: top - 2, width, height, viewBox: `${left} ${top - 2} ${width} ${height}` }, ...nodes);
}
