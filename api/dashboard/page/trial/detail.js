// What the drawer needs to know of a trial: read once, kept while it does not change.

import { readRepeats } from "./repeats.js";

const KEPT = 24;
const OTHERS = 12;

export class TrialDetails {
  constructor(session) {
    this.session = session;
    this.known = new Map();
    this.curves = new Map(); // of other trials, for the faint ones behind
  }

  // Returns what is known now: {trial, parent, ancestry, costs, repeats}, or null.
  get(number) {
    return this.known.get(number) ?? null;
  }

  // Reads a trial with its ancestors, costs and further runs; null where there is none.
  async read(number) {
    const { session } = this;
    const trial = await session.orNull(session.get(`/trials/${number}`));
    if (trial === null) return null;
    const [ancestry, costs, repeats] = await Promise.all([
      trial.parent_number === null ? { items: [trial] } : session.get(`/trials/${number}/ancestry`, { limit: 200 }),
      this.known.get(number)?.costs ?? session.get(`/charts/costs/${number}`),
      readRepeats(session, number),
    ]);
    const detail = { trial, ancestry: ancestry.items, parent: ancestry.items[1] ?? null, costs, repeats };
    this.known.delete(number);
    this.known.set(number, detail);
    if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
    return detail;
  }

  // Returns the rival of a pool: the newest completed run of its baseline, curve included.
  async rival(pool) {
    if (!pool) return null;
    this.rivals ??= new Map();
    if (!this.rivals.has(pool)) {
      const { session } = this;
      const page = await session.get("/charts/table", { pool, word: ["baseline", "completed"], sort: "-number", limit: 1 });
      const found = page.items[0];
      if (!found) return null;
      this.rivals.set(pool, await session.get(`/trials/${found.number}`));
    }
    return this.rivals.get(pool);
  }

  // Returns curves of the best and the newest other trials of a pool, to stand faintly behind.
  async others(pool) {
    if (this.curves.has(pool)) return this.curves.get(pool);
    const { session } = this;
    const page = await session.get("/charts/table", { pool, word: ["candidate", "completed"], sort: "-fitness", limit: OTHERS });
    const found = await Promise.all(page.items.map((one) => session.orNull(session.get(`/trials/${one.number}`))));
    const curves = found.filter(Boolean).map((one) => ({ number: one.number, curve: one.measurements.curve }));
    if (curves.length === OTHERS) this.curves.set(pool, curves);
    return curves;
  }
}
