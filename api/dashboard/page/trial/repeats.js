// A block's runs beside the one that found it: those that somebody asked for, and those of the race
// among finalists. The two are not mixed: who asks has seen the results.

import { element } from "../core/dom.js";
import * as format from "../core/format.js";
import { hasEnded } from "../search/stage.js";

const MOST = 50;

// Reads a trial's further runs, oldest first: {asked, race}; nothing is read where there are none.
export async function readRepeats(session, number) {
  const { totals } = session.whole.overview;
  const of = async (kind) => {
    if (!totals[kind]) return [];
    const page = await session.get("/charts/table", { word: [kind, `parent:${number}`], sort: "number", limit: MOST });
    return page.items;
  };
  const [asked, race] = await Promise.all([of("repeat"), of("confirmation")]);
  return { asked, race };
}

// Returns why a trial cannot be run again now, in words; "" where it can.
export function whyNotAgain(trial, search) {
  if (hasEnded(search) || search.status === "stopping") return `The search is ${search.status}: it takes no more trials`;
  if (trial.status === "queued" || trial.status === "running") return "It has not ended yet";
  return "";
}

// Returns the section of the drawer, or null where there is nothing to tell. `link(one)` is an anchor.
export function repeatsSection({ asked, race }, link) {
  const parts = [
    ["Asked for", asked, "not counted for the best"],
    ["In the race among finalists", race, "what the best is judged by"],
  ].filter(([, runs]) => runs.length);
  if (!parts.length) return null;
  return element(
    "section", { id: "drawer-repeats" },
    element("h3", {}, "Fresh runs of this block"),
    parts.map(([label, runs, note]) => [
      element("p", {}, `${label}: ${summary(runs)} `, element("small", {}, note)),
      element("ul", { class: "repeats" }, runs.map((one) => element("li", {}, link(one), ` ${one.status === "completed" ? format.fitness(one.fitness) : format.name(format.standing(one))}`))),
    ]),
  );
}

// Mean, standard deviation and number of the runs that have completed.
function summary(runs) {
  const values = runs.filter((one) => one.status === "completed" && one.fitness !== null).map((one) => one.fitness);
  if (!values.length) return "no result yet.";
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length === 1) return `${format.fitness(mean)} in one run.`;
  const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
  return `${format.fitness(mean)} ± ${format.fixed(spread, 3)} in ${values.length} runs.`;
}
