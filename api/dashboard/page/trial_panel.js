// The panel beside the plot: the selected trial, or the best one while none is selected. It holds
// the comparison with the baseline, the block, the learning curve, where the genome comes from
// and everything that was measured.

import { blockDiagram } from "./block_diagram.js";
import { drawComparison } from "./comparison.js";
import { element, replace, setText } from "./dom.js";
import * as format from "./format.js";
import { learningCurve } from "./learning_curve.js";

// What the list of measurements shows, in this order; missing values are left out.
const MEASURED = [
  ["Training time", (m) => m.training_seconds, format.duration],
  ["Elapsed", (m) => m.elapsed_seconds, format.duration],
  ["Compilation", (m) => m.compile_seconds, format.duration],
  ["Tokens", (m) => m.tokens, format.count],
  ["Step time spread", (m) => m.step_time_spread_ms, format.milliseconds],
  ["Inference step", (m) => m.inference_time_ms, format.milliseconds],
  ["Dropped tokens", (m) => m.drop_fraction, (v) => format.percent(v, 1)],
  ["Gradient norm", (m) => m.gradient_norm, (v) => format.fixed(v, 3)],
  ["Peak memory", (m) => m.peak_memory_bytes, format.bytes],
  ["Estimated memory", (m) => m.estimated_memory_bytes, format.bytes],
  ["Utilisation", (m) => m.utilisation, (v) => format.percent(v)],
  ["Contention", (m) => m.contention, (v) => `${format.fixed(v, 2)}×`],
  ["Clock", (m) => m.clock, String],
  ["Device", (m) => m.device ?? m.platform, String],
  ["Mesh", (m) => m.mesh, format.mesh],
  ["Hosts", (m) => (m.hosts > 1 ? m.hosts : null), String],
  ["Recomputed", (m) => (m.remat ? "blocks, in the backward pass" : null), String],
];

export class TrialPanel {
  // `parts` are the panel's elements by name.
  constructor(parts, state) {
    this.parts = parts;
    this.state = state;
    parts.close.addEventListener("click", () => state.set({ trial: "" }, { push: true }));
    parts.copy.addEventListener("click", () => this.copy());
  }

  // `view`: {search, best, front, row, baselineTrial, subject, parent, ancestry, missing}; `best` is a
  // BestRecord, `front` a set of numbers, `row` the subject's in the table, the others are trial
  // records, each null where there is none.
  draw(view) {
    const { parts } = this;
    const { search, best, subject } = view;
    this.subject = subject;
    parts.empty.hidden = subject !== null;
    parts.full.hidden = subject === null;
    parts.missing.hidden = view.missing === null;
    setText(parts.missing, view.missing === null ? "" : `This search has no trial #${view.missing}.`);
    if (subject === null) return;
    const isBest = best !== null && best.trial.number === subject.number;
    parts.close.hidden = this.state.get("trial") === "";
    setText(parts.title, isBest ? `Best: trial #${subject.number}` : `Trial #${subject.number}`);
    setText(parts.summary, summary(subject, isBest ? best : null, view));
    setText(parts.fitness, subject.status === "completed" ? format.fitness(subject.fitness) : "");
    parts.message.hidden = !subject.message;
    setText(parts.message, subject.message);
    this.drawComparison(view, isBest);
    this.drawBlocks(view, isBest);
    this.drawCurve(view);
    this.drawOrigin(view);
    this.drawMeasurements(subject);
  }

  drawComparison({ search, best, baselineTrial, subject }, isBest) {
    const columns = [];
    if (best) columns.push(this.column(best.trial, `best #${best.trial.number}`));
    if (!isBest) columns.push(this.column(subject, `#${subject.number}`));
    drawComparison(
      this.parts.comparison,
      { name: baselineName(search), measurements: baselineMeasurements(search, baselineTrial) },
      columns,
    );
  }

  column(trial, name) {
    const measured = trial.measurements ?? {};
    return {
      name,
      href: this.state.address({ trial: trial.number }),
      measurements: {
        ...measured,
        parameters: measured.parameters ?? trial.parameters,
        activated_parameters: measured.activated_parameters ?? trial.activated_parameters,
      },
    };
  }

  drawBlocks({ search, best, subject, parent }, isBest) {
    const { proxy } = search.spec;
    const compact = best !== null && !isBest;
    const figure = (trial, caption, before) =>
      element(
        "figure",
        {},
        element("figcaption", {}, caption),
        blockDiagram(trial.genome, { proxy, parent: before?.genome ?? null, compact, label: caption }),
      );
    const own = figure(subject, `Trial #${subject.number}`, parent);
    const other = compact ? figure(best.trial, `Best, #${best.trial.number}`, null) : null;
    replace(this.parts.blocks, own, other);
    this.parts.changedNote.hidden = parent === null;
  }

  drawCurve({ subject, baselineTrial }) {
    const reference = subject.kind === "baseline" ? [] : (baselineTrial?.measurements?.curve ?? []);
    const curve = learningCurve(subject.measurements?.curve, reference);
    this.parts.curveSection.hidden = curve === null;
    replace(this.parts.curve, curve);
    this.parts.curveReference.hidden = reference.length === 0;
  }

  drawOrigin({ subject, ancestry }) {
    const chain = ancestry.slice(1);
    const shown = chain.slice(0, 12);
    const link = (trial) =>
      element(
        "li",
        {},
        element(
          "a",
          { href: this.state.address({ trial: trial.number }), "data-trial": trial.number },
          `#${trial.number}`,
        ),
        element("span", { class: "muted" }, ` ${format.fitness(trial.fitness)}`),
      );
    const how = subject.parent_number === null
      ? ORIGINS[subject.origin] ?? KINDS[subject.kind] ?? ""
      : `${subject.mutation}, from its parent:`;
    setText(this.parts.mutation, how);
    replace(this.parts.ancestry, shown.map(link));
    if (chain.length > shown.length) {
      this.parts.ancestry.append(element("li", {}, `and ${chain.length - shown.length} more`));
    }
  }

  drawMeasurements(subject) {
    const measured = subject.measurements ?? {};
    const rows = MEASURED.filter(([, read]) => (read(measured) ?? null) !== null).map(
      ([label, read, show]) => [label, show(read(measured))],
    );
    rows.push(["Attempt", String(subject.attempt ?? 0)], ["Seed", String(subject.seed)]);
    if (subject.pool) rows.push(["Pool", subject.pool]);
    if (subject.worker_id) rows.push(["Worker", subject.worker_id]);
    replace(
      this.parts.measurements,
      rows.map(([label, value]) =>
        element("div", {}, element("dt", {}, label), element("dd", { title: value }, value)),
      ),
    );
    setText(this.parts.digest, (subject.digest ?? "").slice(0, 12));
  }

  async copy() {
    const text = JSON.stringify(this.subject?.genome ?? null, null, 2);
    const { copy } = this.parts;
    try {
      await navigator.clipboard.writeText(text);
      setText(copy, "Copied");
    } catch {
      setText(copy, "Copying is not allowed here");
    }
    setTimeout(() => setText(copy, "Copy genome"), 1500);
  }
}

const ORIGINS = { seed: "A seed that the spec names.", random: "Drawn at random from the space." };
const KINDS = {
  baseline: "The baseline: what every candidate is measured against.",
  confirmation: "A repeat with a fresh seed.",
  promotion: "A block at a larger scale.",
};

function summary(trial, best, { row, front }) {
  const parts = [format.name(trial.kind), format.name(format.standing(trial))];
  if (row?.inPopulation) parts.push("in the population");
  if (front.has(trial.number)) parts.push("on the Pareto front");
  if (best?.confirmed) parts.push(`${best.repeats} fresh runs`);
  if (best?.verdict === "not_enough_runs") parts.push("not enough runs");
  if (best && best.confidence !== null && best.confidence !== undefined) {
    parts.push(`${format.certainty(best.confidence)} sure to beat the baseline`);
  }
  return parts.join(" · ");
}

export function baselineName(search) {
  const { baseline } = search.spec;
  return typeof baseline === "string" ? baseline : "baseline";
}

function baselineMeasurements(search, trial) {
  const measured = trial?.measurements ?? {};
  const { baseline } = search;
  return {
    ...measured,
    parameters: measured.parameters ?? trial?.parameters ?? null,
    activated_parameters: measured.activated_parameters ?? trial?.activated_parameters ?? null,
    validation_loss: baseline?.validation_loss ?? measured.validation_loss ?? null,
    bits_per_byte: baseline?.bits_per_byte ?? measured.bits_per_byte ?? null,
    step_time_ms: baseline?.step_time_ms ?? measured.step_time_ms ?? null,
  };
}
