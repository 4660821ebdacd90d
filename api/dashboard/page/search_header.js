// The head of the open search: its name, status, figures, progress, and the buttons that change
// it. Buttons that make no sense in the present status are not there.

import { element, replace, setText } from "./dom.js";
import * as format from "./format.js";
import { baselineName } from "./trial_panel.js";

// Which buttons a status offers; the controller has the last word.
const ACTIONS = {
  running: ["pause", "stop", "cancel"],
  paused: ["resume", "stop", "cancel"],
  stopping: ["cancel"],
  completed: [],
  stopped: [],
  cancelled: [],
  failed: [],
};
const HINTS = {
  pause: "No new trials; the running ones finish.",
  resume: "Start new trials again.",
  stop: "No new trials; when the running ones have finished, the search ends.",
  cancel: "End the running trials at once; their work is lost.",
};
const ENDED = new Set(["completed", "stopped", "cancelled", "failed"]);

export class SearchHeader {
  // `onAction(name)` is called after a click, for cancel after the question.
  constructor(parts, onAction) {
    this.parts = parts;
    this.onAction = onAction;
    parts.cancelDialog.addEventListener("close", () => {
      if (parts.cancelDialog.returnValue === "cancel-search") this.onAction("cancel");
      parts.cancelDialog.returnValue = "";
    });
  }

  draw(search, now) {
    const { parts } = this;
    setText(parts.name, search.name);
    setText(parts.status, format.name(search.status));
    parts.status.className = `status status-${search.status}`;
    setText(parts.subtitle, subtitle(search));
    parts.reason.hidden = !search.reason || search.status === "completed";
    setText(parts.reason, search.reason);
    parts.paperRouting.hidden = search.spec.proxy.routing !== "paper";
    this.drawButtons(search);
    this.drawProgress(search, now);
    this.drawFigures(search, now);
  }

  drawButtons(search) {
    const names = ACTIONS[search.status] ?? [];
    const key = names.join(" ");
    if (this.shown === key) return;
    this.shown = key;
    replace(
      this.parts.actions,
      names.map((name) =>
        element(
          "button",
          {
            type: "button",
            class: `action action-${name}`,
            title: HINTS[name],
            on: { click: () => this.act(name) },
          },
          name[0].toUpperCase() + name.slice(1),
        ),
      ),
    );
  }

  act(name) {
    if (name === "cancel") this.parts.cancelDialog.showModal();
    else this.onAction(name);
  }

  drawProgress(search, now) {
    const { limits } = search.spec;
    const byTrials = limits.trials ? search.candidates_finished / limits.trials : 0;
    const byTime = limits.hours ? elapsedSeconds(search, now) / (limits.hours * 3600) : 0;
    const share = Math.min(1, Math.max(byTrials, byTime));
    const { bar } = this.parts;
    bar.hidden = false;
    bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    bar.setAttribute("aria-valuetext", `${format.percent(share)} of the search's limits`);
    bar.firstElementChild.style.setProperty("--share", String(share));
  }

  drawFigures(search, now) {
    const { limits } = search.spec;
    const done = format.whole(search.candidates_finished);
    const elapsed = elapsedSeconds(search, now);
    const running = search.counts.running ?? 0;
    const figures = [
      ["Best fitness", format.fitness(search.best_fitness), "nats a token better than the baseline"],
      ["Baseline", ...baselineFigure(search)],
      ["Candidates", limits.trials ? `${done} / ${format.whole(limits.trials)}` : done, spent(search)],
      ["Running", format.whole(running), `${format.whole(search.counts.queued ?? 0)} queued`],
      ["Elapsed", format.duration(elapsed), left(search, elapsed)],
    ];
    const { figures: box } = this.parts;
    if (box.children.length !== figures.length) {
      replace(box, figures.map(() => element("div", {}, element("dt"), element("dd"), element("p"))));
    }
    figures.forEach(([label, value, note], index) => {
      const [term, figure, detail] = box.children[index].children;
      setText(term, label);
      setText(figure, value);
      setText(detail, note);
    });
  }
}

export function hasEnded(search) {
  return ENDED.has(search.status);
}

function elapsedSeconds(search, now) {
  const end = search.finished_at ? Date.parse(search.finished_at) : now.getTime();
  return Math.max(0, (end - Date.parse(search.created_at)) / 1000);
}

function subtitle(search) {
  const { spec } = search;
  const space = typeof spec.space === "string" ? spec.space : spec.space.name;
  return [
    `space ${space}`,
    format.name(spec.algorithm),
    `population ${spec.population_size}`,
    spec.proxy.dataset,
    `${format.duration(spec.proxy.budget_seconds)} a trial`,
    `seed ${spec.seed}`,
  ].join(" · ");
}

function baselineFigure(search) {
  const { baseline } = search;
  if (!baseline || baseline.repeats === 0) return [format.NONE, `${baselineName(search)}, not measured yet`];
  const value = format.fixed(baseline.validation_loss, 3);
  if (baseline.repeats < baseline.needed) {
    return [value, `${baselineName(search)}, run ${baseline.repeats} of ${baseline.needed}`];
  }
  const noise = baseline.noise === null || baseline.noise === undefined
    ? ""
    : `, noise ${format.fixed(baseline.noise, 4)}`;
  return [value, `${baselineName(search)}, nats a token${noise}`];
}

function spent(search) {
  const parts = ["pruned", "failed"]
    .filter((status) => (search.counts[status] ?? 0) > 0)
    .map((status) => `${format.whole(search.counts[status])} ${status}`);
  return parts.join(", ") || "finished";
}

// The time that is left, from the pace so far and from the limit in hours.
function left(search, elapsed) {
  if (hasEnded(search)) return "";
  const { limits } = search.spec;
  const guesses = [];
  if (limits.trials && search.candidates_finished >= 2) {
    const pace = elapsed / search.candidates_finished;
    guesses.push(pace * Math.max(0, limits.trials - search.candidates_finished));
  }
  if (limits.hours) guesses.push(Math.max(0, limits.hours * 3600 - elapsed));
  return guesses.length && search.status === "running"
    ? `about ${format.duration(Math.min(...guesses))} left`
    : "";
}
