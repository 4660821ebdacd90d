// What was measured of a trial, what its block costs by sub-layer, and how its attempts went.

import { element } from "../core/dom.js";
import * as format from "../core/format.js";

const CONTENDED = 2;

// What the list of measurements shows, in this order; missing values are left out.
const MEASURED = [
  ["Training time", (m) => m.training_seconds, format.duration],
  ["Elapsed", (m) => m.elapsed_seconds, format.duration],
  ["Compilation", (m) => m.compile_seconds, format.duration],
  ["Steps", (m) => m.steps, format.whole],
  ["Tokens", (m) => m.tokens, format.count],
  ["Step time spread", (m) => m.step_time_spread_ms, format.milliseconds],
  ["Inference step", (m) => m.inference_time_ms, format.milliseconds],
  ["Dropped tokens", (m) => m.drop_fraction, (v) => format.percent(v, 1)],
  ["Gradient norm", (m) => m.gradient_norm, (v) => format.fixed(v, 3)],
  ["Peak memory", (m) => m.peak_memory_bytes, format.bytes],
  ["Estimated memory", (m) => m.estimated_memory_bytes, format.bytes],
  ["Utilisation", (m) => m.utilisation, (v) => format.percent(v)],
  ["Experts a token in evaluation", (m) => (format.isNumber(m.routing_gap) ? m.evaluation_experts : null), (v) => format.fixed(v, 2)],
  ["Dropped in evaluation", (m) => (format.isNumber(m.routing_gap) ? m.evaluation_drop_fraction : null), (v) => format.percent(v, 1)],
  ["Evaluation's routing over training's", (m) => m.routing_gap, (v) => `${format.fitness(v)} nats`],
  ["Contention", (m) => (format.isNumber(m.contention) ? m : null), contention],
  ["Clock", (m) => m.clock, String],
  ["Device", (m) => m.device ?? m.platform, String],
  ["Mesh", (m) => m.mesh, format.mesh],
  ["Hosts", (m) => (m.hosts > 1 ? m.hosts : null), String],
  ["Recomputed", (m) => (m.remat ? "blocks, in the backward pass" : null), String],
];

// How busy the machine was; above twice its quiet time a step's figures are to be looked at twice.
function contention({ contention: busy, calibration_lost_steps: lost, steps }) {
  const text = `${format.fixed(busy, 2)}×`;
  if (busy <= CONTENDED) return text;
  return `${text}, a busy machine${format.isNumber(lost) ? `; calibration lost ${format.whole(lost)} of ${format.whole(lost + steps)} steps` : ""}`;
}

export function measurements(trial) {
  const measured = trial.measurements ?? {};
  const rows = MEASURED.filter(([, read]) => (read(measured) ?? null) !== null).map(([label, read, show]) => [label, show(read(measured))]);
  rows.push(["Seed", String(trial.seed)]);
  if (trial.pool) rows.push(["Pool", trial.pool]);
  if (trial.worker_id) rows.push(["Worker", trial.worker_id]);
  return element("dl", { class: "measurements" }, rows.map(([label, value]) => [element("dt", {}, label), element("dd", {}, value)]));
}

// The trial beside its rival (the baseline of its own pool): [label, own, rival, what less means].
export function comparison(columns, level, rival) {
  const rows = [
    ["Validation loss", (c) => c.measurements?.validation_loss, level?.loss ?? null, (v) => format.fixed(v, 4), true],
    ["Loss after the same tokens", (c) => (columns.length === 1 ? c.equal_tokens?.loss : null), columns[0].equal_tokens?.rival_loss ?? null, (v) => format.fixed(v, 4), true],
    ["Bits per byte", (c) => c.measurements?.bits_per_byte, level?.bits_per_byte ?? null, (v) => format.fixed(v, 4), true],
    ["Step time", (c) => c.measurements?.step_time_ms, level?.step_time_ms ?? null, format.milliseconds, true],
    ["Parameters", (c) => c.measurements?.parameters ?? c.parameters, rival?.measurements?.parameters ?? rival?.parameters ?? null, format.count, null],
    ["Activated", (c) => c.activated_parameters, rival?.activated_parameters ?? null, format.count, null],
  ];
  const head = ["", ...columns.map((one) => `#${one.number}`), "baseline"];
  return element(
    "table", { class: "plain comparison" },
    element("thead", {}, element("tr", {}, head.map((text) => (text ? element("th", { scope: "col", class: "numeric" }, text) : element("td", {}))))),
    element("tbody", {}, rows.map(([label, read, reference, show, less]) =>
      element("tr", {}, element("th", { scope: "row" }, label), columns.map((one) => cell(read(one) ?? null, one.pool === level?.pool ? reference : null, show, less)), element("td", { class: "numeric" }, show(reference))))),
  );
}

function cell(value, reference, show, less) {
  const parts = [show(value)];
  if (value !== null && reference) {
    const change = value / reference - 1;
    const text = Math.abs(change) < 0.0005 ? "equal" : `${change > 0 ? "+" : ""}${format.percent(change, Math.abs(change) < 0.1 ? 1 : 0)}`;
    const tone = less === null || text === "equal" ? "" : less === change < 0 ? " better" : " worse";
    parts.push(element("small", { class: `delta${tone}` }, text, tone ? element("span", { class: "visually-hidden" }, `,${tone}`) : null));
  }
  return element("td", { class: "numeric" }, parts);
}

// What the block costs, sub-layer by sub-layer. `costs` is the controller's answer.
export function costTable(costs) {
  const total = (name) => costs.items.reduce((sum, one) => sum + one[name], 0) || 1;
  const whole = { parameters: total("parameters"), activated_parameters: total("activated_parameters"), flops_per_token: total("flops_per_token") };
  const share = (one, name) => element("td", { class: "numeric" }, format.count(Math.round(one[name])), element("small", {}, format.percent(one[name] / whole[name])), element("meter", { min: 0, max: 1, value: one[name] / whole[name], "aria-hidden": "true" }));
  return element(
    "table", { class: "plain costs" },
    element("thead", {}, element("tr", {}, ["Sub-layer", "Parameters", "Activated", "FLOPs a token"].map((text, i) => element("th", { scope: "col", class: i ? "numeric" : null }, text)))),
    element("tbody", {}, costs.items.map((one, index) =>
      element("tr", {}, element("th", { scope: "row" }, element("i", { class: `kind kind-${one.kind}`, "aria-hidden": "true" }), ` ${index + 1} ${format.name(one.kind)}`), share(one, "parameters"), share(one, "activated_parameters"), share(one, "flops_per_token")))),
  );
}

export function attemptList(attempts) {
  return element("ol", { class: "attempts" }, (attempts ?? []).map((one) =>
    element("li", {},
      element("p", {},
        element("strong", {}, `Attempt ${one.attempt}`), ` on ${one.worker_id} (${one.pool}): `,
        one.outcome ? format.name(one.outcome) : "running",
        one.accepted || !one.outcome ? "" : ", refused",
        one.finished_at ? `, ${format.duration((Date.parse(one.finished_at) - Date.parse(one.started_at)) / 1000)}` : "",
        `, ${format.moment(one.started_at)}`),
      one.message ? element("p", { class: "failure-message" }, one.message) : null,
      one.traceback ? element("details", {}, element("summary", {}, "Traceback"), element("pre", { tabindex: "0" }, one.traceback)) : null)));
}
