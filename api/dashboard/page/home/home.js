// The front page: every search with what it has found, and the machines that do the work.

import { controllerUrl } from "../core/api.js";
import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { showEmpty, showError, showLoading } from "../core/states.js";
import { poolsTable } from "../tabs/machines.js";
import { NewSearch } from "./new_search.js";
import { SearchTable } from "./search_table.js";

const REFRESH_MS = 6000;

export class HomePage {
  // `app`: {api, state, access, onNotice(notice)}.
  constructor(box, app) {
    Object.assign(this, { box, app });
    this.searches = element("div", { id: "home-searches" });
    this.machines = element("div", { id: "home-machines" });
    this.create = element("button", { type: "button", class: "action", id: "new-search", hidden: true, on: { click: () => app.state.set({ view: "new" }, { push: true }) } }, "New search");
    showLoading(this.searches, "the searches");
    showLoading(this.machines, "the machines");
    replace(
      box,
      element("div", { class: "home-head" }, element("h1", {}, "Searches"), this.create),
      element("section", { class: "card", "aria-label": "Searches" }, this.searches),
      element("section", { class: "card", "aria-label": "Machines" }, element("h2", {}, "Machines"), this.machines),
    );
    this.table = new SearchTable(this.searches, app, () => this.read());
    this.form = new NewSearch(app);
    document.title = "Searches – Brainformer";
    this.timer = setInterval(() => !document.hidden && this.read(), REFRESH_MS);
    this.read();
    this.follow();
  }

  close() {
    clearInterval(this.timer);
    this.closed = true;
    this.form.close();
  }

  follow() {
    this.create.hidden = !this.app.access.mayWrite;
    if (this.app.state.get("view") === "new") this.form.open();
    else this.form.close();
  }

  async read() {
    this.create.hidden = !this.app.access.mayWrite;
    const turn = {};
    this.turn = turn; // an answer that a newer question has overtaken is not shown
    try {
      const [page, notes] = await Promise.all([this.app.api.get("/searches", { limit: 100 }), this.app.api.get("/notes")]);
      if (this.closed || this.turn !== turn) return;
      this.app.onNotice(null);
      if (page.items.length === 0) this.drawNothing();
      else this.table.draw(page.items, notes.items, page.next_cursor !== null);
    } catch (error) {
      if (this.closed || this.turn !== turn) return;
      if (this.table.rows.length) this.app.onNotice({ text: `Stale: ${error.message} The searches are those of ${format.clock(this.readAt ?? new Date())}.`, stale: true });
      else showError(this.searches, error, () => this.read());
      return;
    }
    this.readAt = this.app.api.now();
    await this.readMachines();
  }

  async readMachines() {
    try {
      const { items } = await this.app.api.get("/pools");
      const details = await Promise.all(items.slice(0, 20).map((one) => this.app.api.get(`/pools/${encodeURIComponent(one.pool)}`)));
      if (this.closed) return;
      if (details.length === 0) showEmpty(this.machines, `No worker has connected yet. Start one: brainformer worker --url ${controllerUrl()}`);
      else replace(this.machines, poolsTable(details, null));
    } catch (error) {
      if (!this.closed) showError(this.machines, error);
    }
  }

  drawNothing() {
    if (this.searches.querySelector(".nothing-yet")) return;
    replace(
      this.searches,
      element("div", { class: "nothing-yet", id: "view-nothing" },
        element("h2", {}, "No search yet"),
        element("p", {}, "A search is described by a short YAML file: the space of blocks, the baseline to beat, how long each trial trains and when to stop. Create one here or on the command line, then start a worker:"),
        element("pre", {}, element("code", {}, `brainformer search create -f examples/laptop.yaml --url ${controllerUrl()}\nbrainformer worker --url ${controllerUrl()}`)),
        element("p", {}, "Or see a whole search run on this machine in a few minutes:"),
        element("pre", {}, element("code", {}, "brainformer demo"))),
    );
  }
}
