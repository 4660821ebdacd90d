// The answer: the best block drawn, its gain over the rival with its interval, what it costs
// beside the rival, when the search last got better, and what fails.

import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { showEmpty, showLoading } from "../core/states.js";
import { blockDiagram } from "../trial/block_diagram.js";
import { hasEnded } from "./stage.js";
import { bestFigure, ofBest, verdictSentence } from "./best_figure.js";

// Draws into `box`. `view`: {search, best, rival (a baseline trial or null), overview, failures,
// now, address(changes), waiting}.
export function drawAnswer(box, view) {
  const { search, best, overview } = view;
  if (best === undefined && search.best_trial_number !== null) {
    showLoading(box, "the best block");
    return;
  }
  if (!best) {
    showEmpty(box, nothingYet(view));
    return;
  }
  const figure = bestFigure(ofBest(best));
  const trial = best.trial;
  const several = overview.pools.length > 1;
  replace(
    box,
    element("div", { class: "answer-block" }, blockDiagram(trial.genome, { proxy: search.spec.proxy, label: `Block of trial #${trial.number}` })),
    element(
      "div", { class: "answer-words" },
      element("h2", {}, "Best block ", element("a", { class: "linked", href: view.address({ trial: trial.number }), "data-trial": trial.number }, `#${trial.number}`), several ? element("span", { class: "muted" }, ` on ${trial.pool}`) : null),
      element("p", { class: `answer-figure${figure.confirmed ? "" : " unsure"}`, id: "best-figure" }, figure.text),
      element("p", { class: "muted" }, figure.confirmed ? `nats a token better than the baseline, ${figure.note}` : figure.note),
      element("p", { class: "answer-verdict" }, verdictSentence(best), best.interval ? ` 95% interval of the gain: ${format.fitness(best.interval[0])} to ${format.fitness(best.interval[1])}.` : ""),
    ),
    facts(view),
  );
}

function nothingYet({ search, waiting, overview }) {
  if (waiting) return "No worker has claimed a trial yet.";
  const { failed = 0, pruned = 0 } = overview.totals.candidate ?? {};
  if (failed + pruned > 0) return `No candidate has completed: ${format.whole(failed + pruned)} were pruned or failed; see Failures.`;
  return hasEnded(search) ? "The search ended before a candidate had completed." : "No candidate has completed yet; the best block will be drawn here.";
}

function facts({ search, best, rival, overview, failures, now, address }) {
  const trial = best.trial;
  const level = overview.levels.find((one) => one.pool === trial.pool);
  const measured = trial.measurements ?? {};
  const rows = [
    ["Speed", compared(measured.step_time_ms, level?.step_time_ms, "faster", "slower", format.milliseconds)],
    ["Parameters", compared(measured.parameters ?? trial.parameters, rival?.measurements?.parameters ?? rival?.parameters, "fewer", "more", format.count)],
    ["Activated", compared(trial.activated_parameters, rival?.activated_parameters, "fewer", "more", format.count)],
    ["Last improvement", improvement(overview, now, search)],
    ["Failures", lost(search, failures, address)],
  ];
  return element("dl", { class: "answer-facts" }, rows.filter(([, value]) => value).map(([label, value]) => [element("dt", {}, label), element("dd", {}, value)]));
}

function compared(value, reference, less, more, show) {
  if (value === null || value === undefined) return "";
  if (!reference) return show(value);
  const change = value / reference - 1;
  const words = Math.abs(change) < 0.005 ? "the same as the rival" : `${format.percent(Math.abs(change))} ${change < 0 ? less : more} than the rival`;
  return `${words} (${show(value)} against ${show(reference)})`;
}

function improvement(overview, now, search) {
  const at = overview.best.finished.at(-1);
  if (!at) return "";
  const end = search.finished_at ? Date.parse(search.finished_at) : now.getTime();
  const ago = format.duration(Math.max(0, end / 1000 - at));
  return `${ago} ${search.finished_at ? "before the end" : "ago"}, by trial #${overview.best.number.at(-1)} (single runs)`;
}

function lost(search, failures, address) {
  const total = (search.counts.failed ?? 0) + (search.counts.cancelled ?? 0);
  const pruned = search.counts.pruned ?? 0;
  if (total + pruned === 0) return "none";
  const reasons = (failures?.items ?? []).filter((one) => one.status === "failed").slice(0, 3).map((one) => `${format.whole(one.count)} ${format.name(one.outcome || "failed")}`);
  const text = [...reasons, pruned ? `${format.whole(pruned)} pruned` : ""].filter(Boolean).join(", ");
  return element("a", { href: address({ tab: "failures" }), class: "linked" }, text || `${format.whole(total)} failed`);
}
