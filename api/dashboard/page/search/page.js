// The page of one search: head, answer, the two charts with their brush, the tabs, and the drawer
// of the selected trial. It wires them to the session and to the address.

import { controllerUrl } from "../core/api.js";
import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { showError, showLoading } from "../core/states.js";
import { drawSwitches, group, option } from "../core/switches.js";
import { FitnessChart, membersOf } from "../charts/fitness.js";
import { Navigator } from "../charts/navigator.js";
import { StepTimeChart } from "../charts/step_time.js";
import { Tabs } from "../tabs/tabs.js";
import { PinBar } from "../trial/compare.js";
import { TrialDrawer } from "../trial/drawer.js";
import { drawAnswer } from "./answer.js";
import { SearchHead } from "./head.js";
import { changeLimits } from "./limits.js";
import { SearchSession } from "./session.js";
import { hasEnded, paceOf } from "./stage.js";
import { stretchOf } from "./view_data.js";

const FAILURES_MS = 15_000;
const ANSWER_MS = 15_000;
const NAVIGATOR_MS = 4000;

export class SearchPage {
  // `app`: {api, state, access, onNotice(notice)}.
  constructor(box, app, id) {
    Object.assign(this, { box, app, id });
    this.rivals = new Map();
    this.connection = "connecting";
    showLoading(box, "the search");
    this.session = new SearchSession(app.api, id, {
      onChange: (what) => this.changed(what),
      onConnection: (state) => this.connected(state),
      onError: (error) => this.failed(error),
    });
    this.session.open(this.where());
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  close() {
    clearInterval(this.ticker);
    this.session.close();
    this.tabs?.close();
    this.drawer?.close();
    this.app.onNotice(null);
  }

  where() {
    const { state } = this.app;
    return { pool: state.get("pool"), from: state.number("from"), to: state.number("to") };
  }

  build() {
    if (this.head) return;
    const { app } = this;
    const part = (id, className, tag = "div") => element(tag, { id, class: className });
    const parts = {
      head: part("search-head", "search-head", "header"), answer: part("search-answer", "card answer", "section"),
      fitness: part("chart-fitness", "card"), step: part("chart-step", "card"), navigator: part("navigator", "navigator"),
      pools: part("chart-pools", "chart-switches"), waiting: part("search-waiting", "waiting"), tabs: part("search-tabs", "card tabs", "section"),
    };
    parts.answer.setAttribute("aria-label", "The answer");
    parts.tabs.setAttribute("aria-label", "Details");
    replace(this.box, parts.head, parts.waiting, parts.answer, parts.pools, element("div", { class: "charts" }, parts.fitness, parts.step), parts.navigator, parts.tabs);
    this.parts = parts;
    this.head = new SearchHead(parts.head, { act: (name) => this.act(name), limits: () => this.limits() });
    const pick = (number) => app.state.set({ trial: String(number) }, { push: true });
    const stretch = (from, to) => app.state.set({ from: from === null ? "" : String(from), to: to === null || to >= this.session.whole.overview.last ? "" : String(to) });
    this.fitness = new FitnessChart(parts.fitness, { stretch, pick, hide: (keys) => app.state.set({ hide: keys.join(",") }) });
    this.step = new StepTimeChart(parts.step, { pick });
    this.navigator = new Navigator(parts.navigator, { onMove: (from, to) => this.pan(from, to), onStretch: stretch });
    this.tabs = new Tabs(parts.tabs, { app, session: this.session, pick });
    this.drawer = new TrialDrawer(document.getElementById("drawer"), { app, session: this.session });
    this.pins = new PinBar(document.getElementById("pins"), { app, session: this.session });
  }

  // The address changed.
  follow() {
    const where = this.where();
    const known = this.session.where;
    if (where.pool !== known.pool || where.from !== known.from || where.to !== known.to) this.session.look(where);
    if (!this.head) return;
    this.drawer.draw(this.selected()); // before all else: it is what the reader waits for
    this.draw("address");
  }

  changed(what) {
    this.app.onNotice(this.connection === "stale" ? this.stale() : null);
    this.build();
    this.draw(what);
  }

  draw(what) {
    this.pendingWhat = what === "all" || this.pendingWhat === "all" ? "all" : what;
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      const kind = this.pendingWhat;
      this.pendingWhat = null;
      this.drawNow(kind);
    });
  }

  drawNow(what) {
    const { session, parts } = this;
    const { search } = session;
    if (!search || session.closed) return;
    document.title = `${search.name}: ${format.name(search.status)} – Brainformer`;
    this.drawHead();
    const waiting = session.whole.overview.total === 0 && !hasEnded(search);
    parts.waiting.hidden = !waiting;
    if (waiting && parts.waiting.children.length === 0) this.drawWaiting();
    this.drawAnswer(waiting);
    this.drawPools();
    this.drawCharts();
    this.tabs.draw(what);
    this.drawer.draw(this.selected());
    this.pins.draw();
  }

  drawHead() {
    const { session, app } = this;
    const { overview } = session.whole;
    this.pace = paceOf(overview.points);
    this.head.draw(session.search, { kinds: overview.totals, levels: overview.levels, pace: this.pace, now: app.api.now(), mayWrite: app.access.mayWrite });
    this.head.drawConnection(this.connection, hasEnded(session.search));
  }

  drawWaiting() {
    replace(
      this.parts.waiting,
      element("p", {}, "No worker has claimed a trial yet. Start one on any machine that reaches this address:"),
      element("pre", {}, element("code", {}, `brainformer worker --url ${controllerUrl()}`)),
    );
  }

  async drawAnswer(waiting) {
    const { session, app } = this;
    const { best, search } = session;
    const key = JSON.stringify([best === undefined, best?.trial.number, best?.repeats, best?.mean_fitness, search.status, waiting, session.whole.overview.best.number.at(-1), Math.floor(app.api.now() / ANSWER_MS)]);
    if (this.answered === key) return;
    this.answered = key;
    drawAnswer(this.parts.answer, {
      search, best, waiting, rival: this.rivals.get(best?.trial.pool) ?? null, overview: session.whole.overview,
      failures: this.lost, now: app.api.now(), address: (changes) => app.state.address(changes),
    });
    if (!(await this.readAside(best)) || session.closed) return;
    this.answered = null; // what is known by now is drawn, which may be more than when this began
    this.drawAnswer(waiting);
  }

  // What the answer says beside the best: its rival's size, and why trials failed.
  async readAside(best) {
    const { session } = this;
    let news = false;
    const pool = best?.trial.pool;
    if (pool && !this.rivals.has(pool)) {
      this.rivals.set(pool, null);
      const page = await session.orNull(session.get("/charts/table", { pool, word: ["baseline", "completed"], sort: "-number", limit: 1 })).catch(() => null);
      this.rivals.set(pool, page?.items[0] ?? null);
      news = true;
    }
    if ((session.search.counts.failed ?? 0) > 0 && Date.now() - (this.lostAt ?? 0) > FAILURES_MS) {
      this.lostAt = Date.now();
      this.lost = await session.get("/charts/failures").catch(() => this.lost);
      news = true;
    }
    return news;
  }

  // The switch of pools, of the axes, and how the stretch is shown.
  drawPools() {
    const { app, session } = this;
    const names = [...new Set([...session.whole.overview.levels.map((level) => level.pool), ...session.whole.overview.pools])];
    const { state } = app;
    const key = JSON.stringify([names, state.get("pool"), state.get("x"), state.get("y")]);
    if (this.switched === key) return;
    this.switched = key;
    const button = (field, value, label, color) =>
      option({
        label, key: `${field}:${value}`, pressed: state.get(field) === value, act: () => state.set({ [field]: value }),
        swatch: color === undefined ? null : element("i", { class: `swatch pool-${color}`, "aria-hidden": "true" }),
      });
    drawSwitches(
      this.parts.pools,
      names.length > 1 ? group("Pool", button("pool", "", "all"), names.map((name) => button("pool", name, name, session.whole.overview.pools.indexOf(name)))) : null,
      group("Across", button("x", "", "trials"), button("x", "time", "time")),
      group("Scale", button("y", "", "linear"), button("y", "log", "log below the best")),
    );
  }

  drawCharts() {
    const { session, app } = this;
    const { state } = app;
    const data = session.view.overview;
    const hidden = new Set(state.get("hide").split(",").filter(Boolean));
    const look = { data, time: state.get("x") === "time", log: state.get("y") === "log", hidden, best: session.best ?? null, members: membersOf(session.whole.overview) };
    const key = JSON.stringify([data.seq, data.first, data.last, data.points.number.length, look.time, look.log, [...hidden], session.best?.mean_fitness, session.best?.trial.number, state.get("pool")]);
    if (this.charted !== key) {
      this.charted = key;
      this.fitness.draw(look);
    }
    const { from, to } = session.where;
    this.parts.navigator.hidden = session.whole.overview.total < 2;
    this.drawNavigator(from, to);
    const single = session.front?.cells.count.length === 0 ? data.points.number.length : 0;
    const stepKey = JSON.stringify([session.frontAt, data.first, single, [...hidden], state.get("pool")]);
    if (session.front && this.stepped !== stepKey) {
      this.stepped = stepKey;
      this.step.draw({ ...look, front: session.front });
    }
    this.fitness.select(this.selected());
    this.step.select(this.selected());
  }

  // The whole in small need not follow every result.
  drawNavigator(from, to) {
    const { overview } = this.session.whole;
    const key = JSON.stringify([from, to, Math.floor(Date.now() / NAVIGATOR_MS), overview.first, this.session.where.pool]);
    if (this.navigated === key) return;
    this.navigated = key;
    this.navigator.draw(overview, from, to);
  }

  // While the stretch moves, what is there already is shown; the rest is read when it rests.
  pan(from, to) {
    if (this.panning) return;
    this.panning = true;
    requestAnimationFrame(() => {
      this.panning = false;
      this.fitness.pan(stretchOf(this.session.whole.overview, this.navigator.from ?? from, this.navigator.to ?? to));
      this.charted = null;
    });
  }

  selected() {
    return this.app.state.number("trial");
  }

  async act(name) {
    try {
      await this.app.api.post(`${this.session.path}/${name}`);
      await this.session.refresh();
    } catch (error) {
      this.failed(error);
    }
  }

  limits() {
    changeLimits(this.session.search, async (limits) => {
      await this.app.api.change("PATCH", this.session.path, { limits });
      await this.session.refresh();
    });
  }

  tick() {
    if (this.head && !document.hidden && !hasEnded(this.session.search)) this.drawHead();
  }

  connected(state) {
    if (state === "stale" && this.connection !== "stale") this.staleSince = this.app.api.now();
    this.connection = state;
    this.app.onNotice(state === "stale" ? this.stale() : null);
    document.body.classList.toggle("is-stale", state === "stale");
    if (this.head && this.session.search) this.head.drawConnection(state, hasEnded(this.session.search));
  }

  stale() {
    const at = this.session.readAt ?? this.staleSince ?? this.app.api.now();
    return { text: `Stale: the connection was lost. This is the state as of ${format.clock(at)}; trying again.`, stale: true, retry: () => this.session.stream.retry() };
  }

  failed(error) {
    if (this.head) {
      if (this.connection !== "stale") this.app.onNotice({ text: error.message, stale: false });
      return;
    }
    if (error.status === 404) this.drawMissing();
    else showError(this.box, error, () => this.session.refresh());
  }

  drawMissing() {
    replace(
      this.box,
      element(
        "section", { class: "nothing-yet", id: "search-missing" },
        element("h1", {}, "No such search"),
        element("p", {}, "There is no search ", element("code", {}, this.id), " on this controller. It may have been deleted, or the address may be that of another controller."),
        element("p", {}, element("a", { href: "./", class: "linked" }, "All searches of this controller")),
      ),
    );
    document.title = "No such search – Brainformer";
  }
}
