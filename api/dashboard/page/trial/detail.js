// What the drawer knows of a trial: at once what the page has read already, then what is read for it,
// part by part as the answers come; kept while it does not change.

import { readRepeats } from "./repeats.js";

const KEPT = 24;
const FRESH_MS = 30_000;

export class TrialDetails {
  constructor(session) {
    this.session = session;
    this.known = new Map();
    this.pools = new Map(); // by pool: its rival and other trials' curves
  }

  // Returns what is known now, or null: {trial, line, costs, repeats}, of which only `trial` is sure
  // to be there. `trial.attempts` is missing until the trial itself has been read, and its genome
  // where only its mark in a chart is known.
  get(number) {
    return this.known.get(number) ?? this.ofTable(number) ?? this.ofChart(number);
  }

  ofTable(number) {
    const trial = this.session.rows.get(number);
    return trial ? { trial } : null;
  }

  ofChart(number) {
    const { session } = this;
    const point = session.view.point(number) ?? session.whole.point(number);
    if (!point) return null;
    const level = session.whole.overview.levels.find((one) => one.pool === point.pool);
    const loss = point.fitness === null || !level?.loss ? null : level.loss - point.fitness;
    const { step_time_ms, parameters } = point;
    return { trial: { ...point, in_population: point.member, label: "", message: "", measurements: { validation_loss: loss, step_time_ms, parameters } } };
  }

  // Reads a trial with its ancestors, costs and further runs, all at once; but where its block is not
  // known yet, the trial goes before all else, since the controller would share its time among them.
  // `onPart(detail)` is told of each as it comes, until `signal` ends it. Returns whether there is
  // such a trial.
  async read(number, signal, onPart) {
    const { session } = this;
    const before = this.known.get(number);
    const detail = { ...before };
    const part = async (name, reading) => {
      const answer = await session.orNull(reading);
      if (answer === null) return false;
      detail[name] = answer;
      if (detail.trial) {
        this.keep(number, detail);
        onPart(detail);
      }
      return true;
    };
    const trial = part("trial", session.get(`/trials/${number}`, {}, signal));
    if (!this.get(number)?.trial.genome && !(await trial)) return false;
    const [exists] = await Promise.all([
      trial,
      part("line", session.get(`/charts/ancestors/${number}`, {}, signal)),
      before?.costs ? true : part("costs", session.get(`/charts/costs/${number}`, {}, signal)),
      part("repeats", readRepeats(session, number)),
    ]);
    return exists;
  }

  keep(number, detail) {
    this.known.delete(number);
    this.known.set(number, detail);
    if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
  }

  // Returns what a pool's curves are seen beside, if it is known: {rival, number, curve}.
  beside(pool) {
    return this.pools.get(pool) ?? null;
  }

  // Reads it, where what is known has no rival yet or is old.
  async readBeside(pool) {
    const known = this.beside(pool);
    if (!pool || (known?.rival && Date.now() - known.at < FRESH_MS)) return;
    const found = await this.session.get("/charts/curves", { pool });
    this.pools.set(pool, { ...found, at: Date.now() });
  }
}
