// A trial's learning curve as a small picture: validation loss over the fraction of the budget,
// with the baseline's own curve behind it.

import { svg } from "./dom.js";
import * as format from "./format.js";

const WIDTH = 360;
const HEIGHT = 132;
const LEFT = 40;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 22;

// `curve` and `reference` are lists of curve points; the reference may be empty.
export function learningCurve(curve, reference) {
  const own = points(curve);
  const other = points(reference);
  if (own.length === 0) return null;
  const losses = [...own, ...other].map(([, loss]) => loss);
  const low = Math.min(...losses);
  const high = Math.max(...losses, low + 1e-6);
  const x = (fraction) => LEFT + fraction * (WIDTH - LEFT - RIGHT);
  const y = (loss) => TOP + ((high - loss) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const path = (list) => `M${list.map(([f, l]) => `${x(f).toFixed(1)} ${y(l).toFixed(1)}`).join("L")}`;
  const last = own.at(-1);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      class: "learning-curve",
      role: "img",
      "aria-label":
        `Learning curve: loss ${format.fixed(own[0][1], 3)} at ${format.percent(own[0][0])} of the ` +
        `budget, ${format.fixed(last[1], 3)} at ${format.percent(last[0])}`,
    },
    [low, high].map((loss) => [
      svg("path", { class: "rule", d: `M${LEFT} ${y(loss)}H${WIDTH - RIGHT}` }),
      svg("text", { x: LEFT - 6, y: y(loss) + 4, "text-anchor": "end" }, format.fixed(loss, 2)),
    ]),
    [0, 0.5, 1].map((fraction) =>
      svg("text", { x: x(fraction), y: HEIGHT - 5, "text-anchor": anchor(fraction) }, format.percent(fraction)),
    ),
    other.length > 0 ? svg("path", { class: "reference", d: path(other) }) : null,
    svg("path", { class: "own", d: path(own) }),
    svg("circle", { class: "end", cx: x(last[0]), cy: y(last[1]), r: 3.4 }),
  );
}

function points(curve) {
  return (curve ?? [])
    .map((point) => [point.fraction, point.validation_loss ?? point.training_loss ?? null])
    .filter(([, loss]) => loss !== null);
}

function anchor(fraction) {
  return fraction === 0 ? "start" : fraction === 1 ? "end" : "middle";
}
