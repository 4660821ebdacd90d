// One open search: reads it, keeps it up to date by its event stream and by differences, and
// tells the page when something changed. Events only say that there is news; what changed is read
// with `after_seq`, so a burst of events costs one small request, and a lost event costs nothing.

import { EventStream } from "./stream.js";
import { TrialSet } from "./trial_set.js";

const ROWS_A_REQUEST = 500;
const CALM_MS = 400; // between two refreshes
const AFTER_FAILURE_MS = 3000;
const RUNNING_TRIAL_MS = 4000; // a selected running trial's curve grows without events

export class SearchSession {
  // `listener`: {onChange(), onConnection(state, error), onError(error)}.
  constructor(api, id, listener) {
    this.api = api;
    this.path = `/searches/${encodeURIComponent(id)}`;
    this.id = id;
    this.listener = listener;
    this.trials = new TrialSet();
    this.search = null;
    this.best = null;
    this.baselineTrial = null;
    this.detail = null; // {trial, parent, ancestry} of the selected trial, else of the best
    this.selected = null;
    this.closed = false;
    this.costMs = 0; // of the last drawing; a slow page refreshes less often
    this.abort = new AbortController();
  }

  async open(selected) {
    this.selected = selected;
    this.stream = new EventStream(this.api, `${this.path}/events`, {
      onEvent: () => this.refresh(),
      onState: (state, error) => {
        if (this.closed) return;
        this.listener.onConnection(state, error);
        if (state === "live") this.refresh();
      },
    });
    this.timer = setInterval(() => this.watchRunning(), RUNNING_TRIAL_MS);
    await this.refresh();
  }

  close() {
    this.closed = true;
    this.abort.abort();
    this.stream?.close();
    clearInterval(this.timer);
  }

  // Shows another trial; null is the best one.
  async select(number) {
    if (this.selected === number) return;
    this.selected = number;
    await this.guarded(() => this.readDetail());
  }

  async act(name) {
    await this.api.post(`${this.path}/${name}`);
    await this.refresh();
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
      const pause = problem ? AFTER_FAILURE_MS : Math.max(CALM_MS, 4 * this.costMs);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    this.refreshing = false;
  }

  // Tells the listener of the change or of the error; returns the error, or null.
  async guarded(read) {
    try {
      await read();
      if (!this.closed) this.listener.onChange();
      return null;
    } catch (error) {
      if (!this.closed && error.name !== "AbortError") this.listener.onError(error);
      return error;
    }
  }

  async readAll() {
    this.search = await this.get("");
    await this.readTrials();
    await this.readBest();
    await this.readBaseline();
    await this.readDetail();
    this.readAt = this.api.now();
  }

  async readTrials() {
    for (;;) {
      const page = await this.get("/trials", { after_seq: this.trials.seq, limit: ROWS_A_REQUEST });
      const before = this.trials.seq;
      this.trials.merge(page.items);
      this.trials.ageOut(this.search.spec.population_size);
      if (page.items.length < ROWS_A_REQUEST || this.trials.seq === before) return;
      if (this.trials.size <= ROWS_A_REQUEST) this.listener.onChange(); // the first rows early
    }
  }

  async readBest() {
    const number = this.search.best_trial_number ?? null;
    const version = `${number} ${this.search.best_fitness} ${this.search.status}`;
    if (this.bestVersion === version) return;
    this.best = number === null ? null : await this.orNull(this.get("/best"));
    this.bestVersion = version;
  }

  // The last completed repeat of the baseline stands for all in curve and counts.
  async readBaseline() {
    const rows = this.trials.inOrder().filter((row) => row.kind === "baseline");
    const done = rows.filter((row) => row.status === "completed").at(-1) ?? rows.at(-1);
    if (!done) return;
    if (this.baselineTrial?.number === done.number && this.baselineTrial.seq === done.seq) return;
    this.baselineTrial = await this.get(`/trials/${done.number}`);
  }

  async readDetail() {
    const number = this.selected ?? this.best?.trial.number ?? null;
    if (number === null) {
      this.detail = null;
      this.missing = null;
      return;
    }
    const known = this.detail?.trial;
    const row = this.trials.get(number);
    if (known?.number === number && known.seq >= (row?.seq ?? 0) && row?.status !== "running") return;
    const trial = await this.orNull(this.get(`/trials/${number}`));
    const ancestry = trial ? await this.readAncestry(trial) : [];
    const still = this.selected ?? this.best?.trial.number ?? null;
    if (still !== number) return; // another one was chosen meanwhile
    this.detail = trial && { trial, parent: ancestry[1] ?? null, ancestry };
    this.missing = trial === null ? number : null;
  }

  async readAncestry(trial) {
    if (trial.parent_number === null || trial.parent_number === undefined) return [trial];
    if (this.detail?.trial.number === trial.number) return this.detail.ancestry;
    const found = await this.get(`/trials/${trial.number}/ancestry`);
    return Array.isArray(found) ? found : found.items;
  }

  watchRunning() {
    const row = this.detail && this.trials.get(this.detail.trial.number);
    if (row?.status === "running" && !document.hidden) this.guarded(() => this.readDetail());
  }

  get(path, query) {
    return this.api.get(`${this.path}${path}`, query, this.abort.signal);
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
