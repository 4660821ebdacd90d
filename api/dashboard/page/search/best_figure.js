// The one figure for "the best": the mean of its fresh runs with their standard deviation and
// number. The run that selected a block is the luckiest of many; it is named as what it is, and
// never stands in the place of the other.

import * as format from "../core/format.js";

// Returns {value, text, note, confirmed} of a BestRecord, or of a search's own fields.
export function bestFigure(best) {
  if (!best) return { value: null, text: format.NONE, note: "no candidate has completed", confirmed: false };
  const { repeats = 0, deviation = null, mean = null } = best;
  if (repeats > 0 && mean !== null) {
    const spread = deviation === null ? "" : ` ± ${format.fixed(deviation, 3)}`;
    return {
      value: mean,
      text: `${format.fitness(mean)}${spread}`,
      note: `mean${deviation === null ? "" : " ± sd"} of ${repeats} fresh run${repeats === 1 ? "" : "s"}`,
      confirmed: true,
    };
  }
  return {
    value: null,
    text: "not confirmed",
    note: best.single === null ? "" : `best single run ${format.fitness(best.single)}, which flatters`,
    confirmed: false,
  };
}

export function ofBest(record) {
  return record && { repeats: record.repeats, deviation: record.deviation, mean: record.mean_fitness, single: record.trial.fitness };
}

export function ofSearch(search) {
  if (search.best_trial_number === null || search.best_trial_number === undefined) return null;
  const confirmed = search.best_repeats > 0;
  return {
    repeats: search.best_repeats,
    deviation: search.best_deviation,
    mean: confirmed ? search.best_fitness : null,
    single: confirmed ? null : search.best_fitness,
  };
}

// Returns what fresh runs say, in one sentence. `best` is a BestRecord.
export function verdictSentence(best) {
  const runs = `${best.repeats} fresh run${best.repeats === 1 ? "" : "s"} against the baseline's ${best.baseline_repeats}`;
  const sure = best.confidence === null || best.confidence === undefined ? "" : `, ${format.certainty(best.confidence)} sure (one-sided)`;
  return {
    not_confirmed: "Not confirmed yet: no fresh run of it has ended. The single run that made it the best flatters.",
    not_enough_runs: `Not enough runs to say whether it beats the baseline (${runs}).`,
    better: `It beats the baseline${sure}: ${runs}.`,
    undecided: `It may or may not beat the baseline${sure}: ${runs}.`,
    not_better: `It does not beat the baseline: ${runs}.`,
  }[best.verdict] ?? "";
}
