// One open search: what is known of it, kept up to date by its event stream. Events only say that
// there is news; what changed is read as a difference, so a burst of them costs one small request
// and a lost one costs nothing. The whole search is never read, only its thinned overview.

import { EventStream } from "../core/stream.js";
import { ViewData } from "./view_data.js";

const CALM_MS = 1000; // between two refreshes
const SLOW_MS = 8000; // between two readings of what is summed over the whole search
const AFTER_FAILURE_MS = 3000;
const MOST_ADDED = 400; // single points drawn over bands before the bands are read again

export class SearchSession {
  // `listener`: {onChange(what), onConnection(state), onError(error)}.
  constructor(api, id, listener) {
    Object.assign(this, { api, id, listener });
    this.path = `/searches/${encodeURIComponent(id)}`;
    this.search = null;
    this.best = undefined; // not read yet; null where there is none
    this.whole = null; // ViewData of the whole search
    this.view = null; // ViewData of the stretch shown; the same as `whole` where all is shown
    this.front = null;
    this.where = { pool: "", from: null, to: null };
    this.abort = new AbortController();
    this.slowAt = 0;
    this.frontAt = 0;
    this.rows = new Map(); // records that the table has read, for a drawer that opens at once
  }

  open(where) {
    this.where = where;
    this.stream = new EventStream(this.api, `${this.path}/events`, {
      onEvent: () => this.refresh(),
      onState: (state, error) => {
        if (this.closed) return;
        this.listener.onConnection(state, error);
        if (state === "live") this.refresh();
      },
    });
    this.refresh();
  }

  close() {
    this.closed = true;
    this.abort.abort();
    this.stream?.close();
    clearTimeout(this.later);
  }

  // Brings everything up to date. Calls while one is under way are joined into one more.
  async refresh() {
    if (this.closed) return;
    this.wanted = true;
    if (this.refreshing) return;
    this.refreshing = true;
    while (this.wanted && !this.closed) {
      this.wanted = false;
      const problem = await this.guarded(() => this.readAll());
      if (problem?.status === 404) break;
      if (problem) this.wanted = true;
      await new Promise((resolve) => setTimeout(resolve, problem ? AFTER_FAILURE_MS : CALM_MS));
    }
    this.refreshing = false;
  }

  // Returns the error, or null; the listener hears of either.
  async guarded(read) {
    try {
      await read();
      return null;
    } catch (error) {
      if (!this.closed && error.name !== "AbortError") this.listener.onError(error);
      return error;
    }
  }

  async readAll() {
    const { whole } = this;
    if (whole === null) {
      const { pool } = this.where;
      const [search, overview] = await Promise.all([this.get(""), this.get("/charts/overview", { pool })]);
      this.search = search;
      if (pool !== this.where.pool) {
        this.wanted = true; // another pool is looked at meanwhile
        return;
      }
      this.whole = new ViewData(overview, pool);
      this.view = this.whole;
      this.readAt = this.api.now();
      this.tell("all");
      if (this.isPart) await this.readView();
      await this.readSlowly();
      return;
    }
    const [search, change] = await Promise.all([
      this.get(""),
      this.get("/charts/overview", { pool: whole.pool, after_seq: whole.overview.seq }),
    ]);
    const statusChanged = search.status !== this.search.status;
    this.search = search;
    const populationSize = search.spec.population_size;
    if (change.whole || whole.added > MOST_ADDED) {
      whole.take(await this.get("/charts/overview", { pool: whole.pool }));
    } else {
      whole.merge(change, { follow: true, populationSize });
    }
    if (this.isPart && this.view !== whole) {
      if (change.whole) await this.readView();
      else if (this.view.pool === whole.pool) this.view.merge(change, { follow: this.where.to === null, populationSize });
    }
    this.readAt = this.api.now();
    this.tell("change");
    const due = Date.now() - this.slowAt > SLOW_MS || statusChanged;
    if (due) await this.readSlowly();
    else this.readLater();
  }

  // Sums over the whole search change slowly: they are read less often, and once more at the end.
  readLater() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.guarded(() => this.readSlowly()), SLOW_MS);
  }

  async readSlowly() {
    this.slowAt = Date.now();
    const stretch = this.stretch();
    const [front, best] = await Promise.all([
      this.get("/charts/front", stretch),
      this.search.best_trial_number === null ? null : this.orNull(this.get("/best")),
    ]);
    if (JSON.stringify(stretch) === JSON.stringify(this.stretch())) {
      this.front = front;
      this.frontAt = this.slowAt;
    }
    this.best = best;
    this.tell("slow");
  }

  get isPart() {
    return this.where.from !== null || this.where.to !== null;
  }

  // The stretch as requests name it.
  stretch() {
    const { pool, from, to } = this.where;
    return { pool, first: from, last: to };
  }

  // Looks at another stretch or pool.
  async look(where) {
    const before = this.where;
    this.where = where;
    if (this.whole === null) return;
    await this.guarded(async () => {
      if (before.pool !== where.pool) {
        const overview = await this.get("/charts/overview", { pool: where.pool });
        if (this.where !== where) return;
        this.whole = new ViewData(overview, where.pool);
        this.view = this.whole;
      }
      if (this.isPart) await this.readView();
      else this.view = this.whole;
      if (this.where !== where) return;
      this.tell("all");
      await this.readSlowly();
    });
  }

  async readView() {
    const { where } = this;
    const overview = await this.get("/charts/overview", this.stretch());
    if (this.where === where) this.view = new ViewData(overview, where.pool);
  }

  tell(what) {
    if (!this.closed) this.listener.onChange(what);
  }

  // `signal` ends the request before the session does.
  get(path, query, signal = null) {
    const ends = signal ? AbortSignal.any([this.abort.signal, signal]) : this.abort.signal;
    return this.api.get(`${this.path}${path}`, query, ends);
  }

  async orNull(promise) {
    try {
      return await promise;
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }
}
