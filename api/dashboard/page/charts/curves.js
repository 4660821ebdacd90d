// Learning curves: validation loss over the share of the budget, one trial's or several, with the
// rival's and all others faintly behind.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { axes } from "./axes.js";
import { linear } from "./scale.js";

// Returns the points of a curve as [fraction, loss].
export function curvePoints(curve) {
  return (curve ?? [])
    .map((point) => [point.fraction, point.validation_loss ?? point.training_loss ?? null])
    .filter(([, loss]) => loss !== null);
}

// Returns the curve of a run of a pool's baseline.
export function rivalCurve(rival) {
  return { label: `baseline on ${rival.pool}`, points: curvePoints(rival.measurements.curve), style: "rival" };
}

// Draws into a Frame. `curves`: [{label, points, style}], style "own", "rival", "faint" or "pin-N".
export function drawCurves(frame, curves) {
  const known = curves.filter((curve) => curve.points.length > 0);
  const losses = known.flatMap((curve) => curve.points.map(([, loss]) => loss));
  frame.draw(({ width, height }) => {
    if (losses.length === 0) return [svg("text", { class: "tick", x: 12, y: 24 }, "no curve was reported")];
    const area = { left: 46, right: width - 12, top: 10, bottom: height - 24 };
    const [low, high] = [Math.min(...losses), Math.max(...losses)];
    const x = linear([0, 1], [area.left, area.right]);
    const y = linear([low - (high - low) * 0.04, high + 1e-6], [area.bottom, area.top]);
    const line = (points) => `M${points.map(([f, l]) => `${x(f).toFixed(1)} ${y(l).toFixed(1)}`).join("L")}`;
    return [
      ...axes({ area, x, y, xFormat: (value) => format.percent(value) }),
      ...known.map((curve) => svg("path", { class: `curve curve-${curve.style}`, d: line(curve.points) })),
      ...known.filter((curve) => curve.style !== "faint").map((curve) => {
        const [f, l] = curve.points.at(-1);
        return svg("circle", { class: `curve-end curve-${curve.style}`, cx: x(f), cy: y(l), r: 3 });
      }),
    ];
  }, {
    message: known.filter((curve) => curve.style !== "faint").map((curve) => `${curve.label}: ${format.fixed(curve.points.at(-1)[1], 3)} at ${format.percent(curve.points.at(-1)[0])}`).join("; ") || "No learning curve was reported.",
    rows: () => known.flatMap((curve) => curve.points.map(([fraction, loss]) => ({ trial: curve.label, fraction, loss }))),
  });
}
