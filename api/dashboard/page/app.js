// The page: wires the address, the open search and the views together. Views are told what to
// show and report what the reader did; only this module knows them all.

import { Api } from "./api.js";
import { element, replace, setText } from "./dom.js";
import { FitnessPlot } from "./fitness_plot.js";
import * as format from "./format.js";
import { SearchHeader, hasEnded } from "./search_header.js";
import { drawSearchList } from "./search_list.js";
import { SearchSession } from "./search_session.js";
import { SERIES } from "./series.js";
import { installThemeToggle } from "./theme_toggle.js";
import { TokenPrompt } from "./token_prompt.js";
import { TrialPanel } from "./trial_panel.js";
import { TrialTable } from "./trial_table.js";
import { UrlState } from "./url_state.js";

const LIST_MS = 10_000;
const PARTS = /^[a-z]+(-[a-z]+)*$/;

// Returns the elements of the page whose id starts with `prefix`, by the rest in camel case.
function parts(prefix) {
  const found = {};
  for (const node of document.querySelectorAll(`[id^="${prefix}-"]`)) {
    const rest = node.id.slice(prefix.length + 1);
    if (!PARTS.test(rest)) continue;
    found[rest.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase())] = node;
  }
  return found;
}

class Page {
  constructor() {
    const prompt = new TokenPrompt(parts("token"));
    this.api = new Api((message) => prompt.ask(message));
    this.state = new UrlState(() => this.follow());
    this.notice = parts("notice");
    this.view = parts("view");
    this.searches = [];
    this.session = null;
    this.connection = "connecting";
    this.header = new SearchHeader(parts("search"), (name) => this.act(name));
    this.table = new TrialTable(parts("table"), this.state);
    this.panel = new TrialPanel(parts("panel"), this.state);
    this.plot = new FitnessPlot(this.view.plot, this.view.legend, {
      onSelect: (number) => this.state.set({ trial: String(number) }, { push: true }),
      onHide: (keys) => this.state.set({ hide: keys.join(",") }),
    });
    installThemeToggle(document.getElementById("theme"), () => this.draw());
    document.addEventListener("click", (event) => this.followLink(event));
    document.addEventListener("keydown", (event) => this.escape(event));
    document.addEventListener("visibilitychange", () => this.refreshList());
    this.notice.retry.addEventListener("click", () => this.session?.stream.retry());
  }

  async start() {
    await this.refreshList();
    setInterval(() => this.refreshList(), LIST_MS);
    setInterval(() => this.tick(), 1000);
  }

  // Reads the list of searches; without one in the address, the newest unfinished one opens.
  async refreshList() {
    if (document.hidden) return;
    try {
      this.searches = (await this.api.get("/searches", { limit: 100 })).items;
    } catch (error) {
      if (this.session === null) this.fail(error);
      return;
    }
    this.listRead = true;
    if (this.session === null) this.fail(null);
    if (this.state.get("search") === "" && this.searches.length > 0) {
      const open = this.searches.find((search) => !hasEnded(search)) ?? this.searches[0];
      this.state.set({ search: open.id });
    } else {
      this.follow();
    }
  }

  // Makes the page show what the address says.
  follow() {
    const id = this.state.get("search");
    const number = this.selectedNumber();
    if (id && this.session?.id !== id) {
      this.openSearch(id, number);
    } else if (this.session) {
      this.session.select(number);
    }
    this.draw();
  }

  openSearch(id, number) {
    this.session?.close();
    this.connection = "connecting";
    this.failure = null;
    const session = new SearchSession(this.api, id, {
      onChange: () => this.changed(session),
      onConnection: (state) => this.connected(session, state),
      onError: (error) => this.fail(error),
    });
    this.session = session;
    session.open(number);
  }

  changed(session) {
    if (session !== this.session) return;
    if (this.connection === "live") this.failure = null;
    const at = this.searches.findIndex((search) => search.id === session.id);
    if (at >= 0 && session.search) this.searches[at] = session.search;
    this.draw();
  }

  connected(session, state) {
    if (session !== this.session) return;
    if (state === "stale" && this.connection !== "stale") this.staleSince = this.api.now();
    if (state === "live") this.failure = null;
    this.connection = state;
    this.drawNotice();
  }

  fail(error) {
    this.failure = error;
    this.drawNotice();
  }

  async act(name) {
    try {
      await this.session.act(name);
    } catch (error) {
      this.fail(error);
    }
  }

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.drawNow();
    });
  }

  drawNow() {
    const { session, view } = this;
    drawSearchList(view.searches, this.searches, {
      selected: this.state.get("search"),
      address: (id) => this.state.address({ search: id, trial: "", page: "", q: "", status: "" }),
    });
    const search = session?.search ?? null;
    view.nothing.hidden = !(this.listRead && this.searches.length === 0);
    view.search.hidden = search === null;
    this.drawNotice();
    if (search === null) return;
    document.title = `${search.name}: ${format.name(search.status)} – Brainformer`;
    this.header.draw(search, this.api.now());
    const rows = session.trials.inOrder();
    view.waiting.hidden = rows.some((row) => row.status !== "queued") || hasEnded(search);
    this.drawPlot(search, rows);
    this.drawTable(rows);
    this.drawPanel(search);
  }

  async drawPlot(search, rows) {
    const best = this.session.best ? this.session.trials.get(this.session.best.trial.number) : null;
    const hidden = new Set(this.state.get("hide").split(",").filter((key) => key in SERIES));
    try {
      await this.plot.draw({
        searchId: search.id,
        rows,
        baseline: search.baseline,
        limit: search.spec.limits.trials,
        best: best ?? null,
        selected: this.session.trials.get(this.selectedNumber()) ?? null,
        hidden,
      });
      if (this.session) this.session.costMs = this.plot.drawMs;
    } catch (error) {
      this.fail(error);
    }
  }

  drawTable(rows) {
    this.table.draw(rows, {
      selected: this.selectedNumber(),
      best: this.session.best?.trial.number ?? null,
      front: this.session.trials.front(),
    });
  }

  drawPanel(search) {
    const { session } = this;
    this.panel.draw({
      search,
      best: session.best,
      front: session.trials.front(),
      row: session.trials.get(session.detail?.trial.number) ?? null,
      baselineTrial: session.baselineTrial,
      subject: session.detail?.trial ?? null,
      parent: session.detail?.parent ?? null,
      ancestry: session.detail?.ancestry ?? [],
      missing: session.missing ?? null,
    });
  }

  // The line at the top: a lost connection, or what went wrong last.
  drawNotice() {
    const { notice } = this;
    const stale = this.connection === "stale" && this.session !== null;
    const ended = this.session?.search && hasEnded(this.session.search);
    notice.bar.hidden = !stale && !this.failure;
    notice.bar.classList.toggle("stale", stale);
    notice.retry.hidden = !stale;
    if (stale) {
      const at = this.session.readAt ?? this.staleSince;
      setText(notice.text, `Stale: the connection was lost. This is the state of ${format.clock(at)}; trying again.`);
    } else if (this.failure) {
      setText(notice.text, this.failure.message);
    }
    const label = stale ? "stale" : this.connection === "live" ? (ended ? "up to date" : "live") : "connecting";
    this.view.connection.dataset.state = stale ? "stale" : this.connection;
    setText(this.view.connection, label);
    document.body.classList.toggle("is-stale", stale);
  }

  tick() {
    const search = this.session?.search;
    if (search && !hasEnded(search) && !document.hidden) this.header.draw(search, this.api.now());
  }

  selectedNumber() {
    const text = this.state.get("trial");
    return /^\d+$/.test(text) ? Number(text) : null;
  }

  // Links within the page change the state without loading it anew.
  followLink(event) {
    const link = event.target.closest?.("a[href^='?']");
    if (!link || event.defaultPrevented || event.button !== 0) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const query = new URLSearchParams(new URL(link.href).search);
    const fields = ["search", "trial", "sort", "status", "q", "page", "hide"];
    const wanted = Object.fromEntries(fields.map((field) => [field, query.get(field) ?? ""]));
    this.state.set(wanted, { push: true });
  }

  escape(event) {
    if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (this.state.get("trial")) this.state.set({ trial: "" }, { push: true });
  }
}

function fillStatusFilter() {
  const select = document.getElementById("table-status");
  const options = Object.entries(SERIES).map(([key, series]) =>
    element("option", { value: key }, series.label),
  );
  replace(select, element("option", { value: "" }, "All trials"), options, element("option", { value: "queued" }, "Queued"));
}

fillStatusFilter();
new Page().start();
