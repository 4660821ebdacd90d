// What stands in a trial's drawer, part by part. A part is drawn from what is known of it: what is
// still being read says so, and none waits for another.

import { element } from "../core/dom.js";
import * as format from "../core/format.js";
import { Parts } from "../core/parts.js";
import { curvePoints, drawCurves, rivalCurve } from "../charts/curves.js";
import { Frame } from "../charts/frame.js";
import { bestFigure, ofBest } from "../search/best_figure.js";
import { blockDiagram } from "./block_diagram.js";
import { inWords } from "./changes.js";
import { attemptList, comparison, costTable, measurements } from "./facts.js";
import { repeatsSection } from "./repeats.js";

const KINDS = {
  baseline: "The baseline: what every candidate of its pool is measured against.", confirmation: "A finalist run again with a fresh seed.",
  repeat: "A run that was asked for, beside the search.",
  promotion: "A block at a larger scale.", certificate: "A run of a certificate.",
};
const ORIGINS = { seed: "A seed that the spec names.", random: "Drawn at random from the space." };
const PARTS = ["summary", "comparison", "block", "origin", "repeats", "curve", "costs", "measured", "attempts"];

export class DrawerParts {
  // `link(number)` returns an anchor that leads to a trial.
  constructor(box, { session, link }) {
    Object.assign(this, { session, link });
    this.parts = new Parts(box, PARTS);
    this.curveBox = element("div", {});
    this.parts.draw("curve", null, () => section("Learning curve", this.curveBox));
  }

  close() {
    this.frame?.close();
  }

  // `detail` is {trial, line, costs, repeats} of TrialDetails, `beside` what its curve is seen beside,
  // or null.
  draw(detail, beside) {
    this.drawHead(detail, beside?.rival ?? null);
    this.drawBlock(detail);
    this.drawOrigin(detail);
    this.drawRest(detail);
    this.drawCurve(detail.trial, beside);
  }

  drawHead({ trial }, rival) {
    const { session, parts } = this;
    const best = session.best?.trial.number === trial.number ? session.best : null;
    const level = session.whole.overview.levels.find((one) => one.pool === trial.pool) ?? null;
    const facts = [format.name(trial.kind), trial.pool, format.name(format.standing(trial)), trial.in_population ? "in the population" : "", trial.label].filter(Boolean);
    const note = best && bestFigure(ofBest(best)).note;
    parts.draw("summary", [facts, note, trial.fitness, best?.repeats, trial.message], () => [
      element("p", { class: "muted", id: "drawer-summary" }, facts.join(" · ")),
      best ? element("p", { class: "muted" }, best.repeats ? `${format.fitness(trial.fitness)} in the run that selected it, which is not counted; ${note}.` : note) : null,
      trial.message ? element("p", { class: "reason", id: "drawer-message" }, trial.message) : null,
    ]);
    parts.draw("comparison", [trial.number, trial.pool, trial.measurements, trial.parameters, trial.activated_parameters, trial.equal_tokens, level, rival?.number], () => comparison([trial], level, rival));
  }

  drawBlock({ trial, line }) {
    const { proxy } = this.session.search.spec;
    const parent = line?.parent ?? null;
    this.parts.draw("block", [trial.number, trial.genome, parent], () =>
      section(
        "Block",
        trial.genome ? element("div", { class: "drawer-block" }, blockDiagram(trial.genome, { proxy, parent, label: `Block of trial #${trial.number}` })) : loading(),
        parent ? element("p", { class: "changed-note" }, "differs from its parent") : null,
      ));
  }

  drawOrigin({ trial, line }) {
    this.parts.draw("origin", [trial.number, trial.kind, trial.origin, trial.parent_number, trial.mutation, trial.changes, line], () => {
      const words = inWords(trial.changes, line?.parent);
      return section(
        "Where it comes from",
        trial.genome ? element("p", { id: "drawer-origin" }, origin(trial)) : loading(),
        words.length ? element("ul", { class: "changes" }, words.map((text) => element("li", {}, text))) : null,
        line ? this.ancestry(line) : null,
      );
    });
  }

  ancestry({ number, status, fitness, mutation, origin: came }) {
    if (number.length < 2) return null;
    return element("ol", { class: "ancestry", "aria-label": "Ancestors, youngest first" }, number.slice(1).map((one, before) => {
      const i = before + 1;
      const by = mutation[i] ? ` by ${mutation[i]}` : `, ${came[i] || "founder"}`;
      return element("li", {}, this.link(one), ` ${status[i] === "completed" ? format.fitness(fitness[i]) : status[i]}`, element("span", { class: "muted" }, by));
    }));
  }

  drawRest({ trial, costs, repeats }) {
    const { parts } = this;
    const isRead = trial.attempts !== undefined;
    parts.draw("repeats", repeats, () => (repeats ? repeatsSection(repeats, (one) => this.link(one.number)) : null));
    parts.draw("costs", costs, () =>
      section("Costs by sub-layer, of one block", element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Costs by sub-layer" }, costs ? costTable(costs) : loading())));
    parts.draw("measured", isRead && [trial.measurements, trial.seed, trial.pool, trial.worker_id], () => section("Measured", isRead ? measurements(trial) : loading()));
    parts.draw("attempts", trial.attempts, () =>
      section("Attempts", !isRead ? loading() : trial.attempts.length ? attemptList(trial.attempts) : element("p", { class: "muted" }, "none yet")));
  }

  // The frame stays from trial to trial: its width is known, and nothing is laid out to learn it.
  drawCurve(trial, beside) {
    const named = { title: `Learning curve of #${trial.number}`, file: `curve-${trial.number}` };
    this.frame ??= new Frame(this.curveBox, { ...named, height: 180 });
    const isRead = trial.attempts !== undefined;
    const key = JSON.stringify([trial.number, isRead && trial.measurements.curve, beside?.at]);
    if (this.curved === key) return;
    this.curved = key;
    this.frame.rename(named);
    if (!isRead) {
      this.frame.drawNothing("…");
      return;
    }
    const { rival, number, curve } = beside ?? { rival: null, number: [], curve: [] };
    drawCurves(this.frame, [
      ...number.flatMap((one, i) => (one === trial.number ? [] : [{ label: `#${one}`, points: curvePoints(curve[i]), style: "faint" }])),
      ...(rival && rival.number !== trial.number ? [rivalCurve(rival)] : []),
      { label: `#${trial.number}`, points: curvePoints(trial.measurements.curve), style: "own" },
    ]);
  }
}

function section(title, ...children) {
  return element("section", {}, element("h3", {}, title), children);
}

function loading() {
  return element("p", { class: "muted", "aria-busy": "true" }, "Loading …");
}

function origin(trial) {
  if (trial.kind === "repeat") return `${KINDS.repeat} It repeats #${trial.parent_number}.`;
  if (trial.kind === "confirmation" && trial.parent_number !== null) return `${KINDS.confirmation} It repeats #${trial.parent_number}.`;
  if (trial.parent_number !== null) return `From #${trial.parent_number} by: ${trial.mutation || "a copy"}.`;
  return KINDS[trial.kind] ?? ORIGINS[trial.origin] ?? "";
}
