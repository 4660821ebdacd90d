// The marks of trials: one shape a series, so that no meaning hangs on colour alone. All marks of
// one series are one path, however many they are.

export const SERIES = {
  population: { label: "In the population", shape: "circle", filled: true, size: 4.3, hint: "the candidates that parents are drawn from" },
  aged: { label: "Aged out", shape: "circle", filled: false, size: 3.2, hint: "completed, and left the population by age" },
  baseline: { label: "Baseline", shape: "square", filled: false, size: 3.8, hint: "repeats of the baseline: their spread is the noise" },
  confirmation: { label: "Fresh repeat", shape: "star", filled: false, size: 5, hint: "blocks run again with fresh seeds: finalists, or because somebody asked" },
  running: { label: "Running", shape: "diamond", filled: true, size: 4.6, lane: true, hint: "in training now" },
  pruned: { label: "Pruned", shape: "triangle", filled: true, size: 4.2, lane: true, hint: "stopped early: too slow, or behind the baseline at 25%" },
  failed: { label: "Failed", shape: "cross", filled: false, size: 3.8, lane: true, hint: "out of memory, diverged, an error, or cancelled" },
};
export const LANES = ["running", "pruned", "failed"];

// Returns the series of a trial, or null while it is queued.
export function seriesOf({ status, kind, member }) {
  if (status === "queued") return null;
  if (status === "running") return "running";
  if (status === "failed" || status === "cancelled") return "failed";
  if (status === "pruned") return "pruned";
  if (kind === "baseline") return "baseline";
  if (kind !== "candidate") return "confirmation";
  return member ? "population" : "aged";
}

const n = (value) => value.toFixed(1);
const SHAPES = {
  circle: (x, y, r) => `M${n(x - r)} ${n(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  square: (x, y, r) => `M${n(x - r)} ${n(y - r)}h${2 * r}v${2 * r}h${-2 * r}z`,
  diamond: (x, y, r) => `M${n(x)} ${n(y - r)}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`,
  triangle: (x, y, r) => `M${n(x - r)} ${n(y - r * 0.8)}h${2 * r}l${-r} ${n(1.7 * r)}z`,
  cross: (x, y, r) => `M${n(x - r)} ${n(y - r)}l${2 * r} ${2 * r}M${n(x - r)} ${n(y + r)}l${2 * r} ${-2 * r}`,
  star: (x, y, r) => `M${n(x)} ${n(y - r)}v${2 * r}M${n(x - r * 0.87)} ${n(y - r / 2)}l${n(1.74 * r)} ${n(r)}M${n(x - r * 0.87)} ${n(y + r / 2)}l${n(1.74 * r)} ${n(-r)}`,
};

// Returns the path of one series' marks at the places given, a list of [x, y].
export function markPath(series, places) {
  const { shape, size } = SERIES[series];
  const draw = SHAPES[shape];
  let path = "";
  for (const [x, y] of places) path += draw(x, y, size);
  return path;
}
