// The trials of the open search as the page keeps them: slim rows by number, brought up to date
// by differences (`after_seq`), never by reading the whole search again. Learning curves and
// genomes stay on the controller; a trial's detail is read when it is selected.

import { paretoFront } from "./pareto_front.js";

export class TrialSet {
  constructor() {
    this.rows = new Map();
    this.known = null; // the front, while nothing has changed
    this.finished = []; // candidates that are or were in the population, in the order of their end
    this.aged = 0; // how many of them have left it
    this.seq = 0;
    this.lastNumber = 0;
  }

  // Takes records of the controller; returns whether anything changed.
  merge(records) {
    let changed = false;
    for (const record of records) {
      const known = this.rows.get(record.number);
      if (known && known.seq >= record.seq) continue;
      const row = slim(record);
      this.rows.set(record.number, row);
      if (mayBeMember(row)) this.finished.push(row);
      this.seq = Math.max(this.seq, record.seq);
      this.lastNumber = Math.max(this.lastNumber, record.number);
      changed = true;
      this.known = null;
    }
    return changed;
  }

  // Lets members leave that are not among the last `size` any more. To age is no change of a trial,
  // so no difference tells of it; what has finished stays as it is, in the order of `seq`.
  ageOut(size) {
    for (; this.aged < this.finished.length - size; this.aged += 1) {
      this.finished[this.aged].inPopulation = false;
    }
  }

  get(number) {
    return this.rows.get(number);
  }

  get size() {
    return this.rows.size;
  }

  // Returns the numbers of the trials on the Pareto front.
  front() {
    this.known ??= paretoFront([...this.rows.values()]);
    return this.known;
  }

  // Returns the rows in order of their number.
  inOrder() {
    return [...this.rows.values()].sort((a, b) => a.number - b.number);
  }
}

function mayBeMember(row) {
  return row.kind === "candidate" && (row.status === "completed" || row.status === "pruned");
}

// Returns the best fitness so far at every trial number where it rose, for a line of steps.
export function runningBest(rows) {
  const line = { numbers: [], values: [] };
  let best = -Infinity;
  for (const row of rows) {
    if (row.kind !== "candidate" || row.status !== "completed" || row.fitness === null) continue;
    if (row.fitness <= best) continue;
    best = row.fitness;
    line.numbers.push(row.number);
    line.values.push(best);
  }
  return line;
}

function slim(record) {
  const measured = record.measurements ?? {};
  const started = record.started_at ? Date.parse(record.started_at) : null;
  const finished = record.finished_at ? Date.parse(record.finished_at) : null;
  return {
    number: record.number,
    seq: record.seq,
    kind: record.kind,
    status: record.status,
    outcome: record.outcome ?? null,
    fitness: record.fitness ?? null,
    inPopulation: record.in_population === true,
    loss: measured.validation_loss ?? null,
    bitsPerByte: measured.bits_per_byte ?? null,
    stepTimeMs: measured.step_time_ms ?? null,
    parameters: measured.parameters ?? record.parameters ?? null,
    costKnown: (measured.step_time_ms ?? measured.parameters ?? null) !== null,
    layers: (record.genome?.layers ?? []).map((layer) => layer.kind),
    modelDim: record.genome?.model_dim ?? null,
    origin: record.origin ?? "",
    parent: record.parent_number ?? null,
    mutation: record.mutation ?? "",
    message: record.message ?? "",
    digest: record.digest ?? "",
    pool: record.pool ?? "",
    finishedAt: finished,
    seconds: started !== null && finished !== null ? (finished - started) / 1000 : null,
  };
}
