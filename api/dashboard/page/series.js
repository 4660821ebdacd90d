// The kinds of points on the page: one table says how each looks in the plot, the legend and the
// trial table. Every one has its own shape and its own colour (Okabe and Ito's palette, safe for
// colour-blind eyes); the colours themselves are in dashboard.css, one set a theme.

export const SERIES = {
  population: {
    label: "In the population",
    symbol: "circle",
    color: "--series-population",
    size: 9,
    hint: "the candidates that parents are drawn from",
  },
  aged: {
    label: "Aged out",
    symbol: "circle-open",
    color: "--series-aged",
    size: 7,
    hint: "completed, and left the population by age",
  },
  baseline: {
    label: "Baseline",
    symbol: "square-open",
    color: "--series-baseline",
    size: 8,
    hint: "repeats of the baseline: their spread is the noise",
  },
  confirmation: {
    label: "Confirmation",
    symbol: "star-open",
    color: "--series-confirmation",
    size: 10,
    hint: "fresh-seed repeats of the best, and promotions",
  },
  running: {
    label: "Running",
    symbol: "diamond",
    color: "--series-running",
    size: 9,
    lane: "running",
    hint: "in training now",
  },
  pruned: {
    label: "Pruned",
    symbol: "triangle-down",
    color: "--series-pruned",
    size: 9,
    lane: "pruned",
    hint: "stopped early: too slow, or worse than the baseline was at 25 %",
  },
  failed: {
    label: "Failed",
    symbol: "cross",
    color: "--series-failed",
    size: 8,
    lane: "failed",
    hint: "out of memory, diverged, an error, or cancelled",
  },
};

// Lanes below the plot, bottom first: trials that have no fitness to be drawn at.
export const LANES = ["failed", "pruned", "running"];

// Returns the series that a trial belongs to, or null while it is queued.
export function seriesOf(trial) {
  if (trial.status === "queued") return null;
  if (trial.status === "running") return "running";
  if (trial.status === "failed" || trial.status === "cancelled") return "failed";
  if (trial.status === "pruned") return "pruned";
  if (trial.kind === "baseline") return "baseline";
  if (trial.kind !== "candidate") return "confirmation";
  return trial.inPopulation ? "population" : "aged";
}
