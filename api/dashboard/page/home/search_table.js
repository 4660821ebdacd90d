// The table of searches: stage, progress, the best confirmed, a line of its course, pools, age.

import { element, replace, setText } from "../core/dom.js";
import * as format from "../core/format.js";
import { sparkline } from "../charts/shares.js";
import { bestFigure, ofSearch } from "../search/best_figure.js";
import { hasEnded } from "../search/stage.js";

const COLUMNS = ["Search", "Stage", "Progress", "Best, confirmed ± sd (n)", "Course", "Pools", "Age", "Notes"];

export class SearchTable {
  // `onChange()` is called when a note was changed.
  constructor(box, app, onChange) {
    Object.assign(this, { box, app, onChange, rows: [], sparks: new Map(), archived: false });
  }

  // `notes` are the controller's, `more` says that there are older searches.
  draw(searches, notes, more) {
    this.rows = searches;
    this.notes = new Map(notes.map((one) => [one.search_id, one]));
    const away = searches.filter((search) => this.notes.get(search.id)?.archived_at).length;
    if (!this.body?.isConnected) {
      this.body = element("tbody", {});
      replace(
        this.box,
        element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Searches, scrollable" },
          element("table", { class: "plain searches" },
            element("thead", {}, element("tr", {}, COLUMNS.map((name) => element("th", { scope: "col" }, name)))),
            this.body)),
        (this.away = element("button", { type: "button", class: "quiet", id: "show-archived", on: { click: () => this.toggle() } })),
        (this.note = element("p", { class: "muted", hidden: true }, "The newest hundred are shown; brainformer search list shows them all.")),
      );
    }
    this.note.hidden = !more;
    const focused = document.activeElement?.dataset?.search;
    this.away.hidden = away === 0;
    setText(this.away, this.archived ? "Hide archived searches" : `Show ${away} archived`);
    const shown = searches.filter((search) => this.archived || !this.notes.get(search.id)?.archived_at);
    replace(this.body, shown.map((search) => this.row(search)));
    if (focused) this.body.querySelector(`[data-search="${focused}"]`)?.focus();
    this.readSparks(searches);
  }

  row(search) {
    const figure = bestFigure(ofSearch(search));
    const { trials, hours } = search.spec.limits;
    const { queued = 0, running = 0 } = search.counts;
    const done = hasEnded(search) ? search.candidates_proposed : Math.max(search.candidates_finished, search.candidates_proposed - queued - running);
    const share = trials && !hasEnded(search) ? Math.min(1, done / trials) : null;
    const progress = hasEnded(search) ? `${format.whole(done)} candidates` : trials ? `${format.whole(done)} / ${format.whole(trials)}` : `${format.whole(done)}${hours ? `, ${format.duration(hours * 3600)} at most` : ""}`;
    const spark = element("td", { class: "spark", "data-spark": search.id });
    const known = this.sparks.get(search.id);
    if (known) spark.append(known.node.cloneNode(true));
    return element(
      "tr", {},
      element("th", { scope: "row" }, element("a", { href: this.app.state.address({ search: search.id, view: "" }), class: "search-link", "data-search": search.id, title: search.name }, search.name)),
      element("td", {}, element("span", { class: `status status-${search.status}` }, format.name(search.status)), element("span", { class: "muted stage-note" }, stage(search))),
      element("td", { class: "progress-cell" }, element("span", {}, progress), share === null ? null : element("span", { class: "mini-bar", "aria-hidden": "true" }, element("span", { style: `width:${(share * 100).toFixed(1)}%` }))),
      element("td", {}, element("span", { class: figure.confirmed ? "strong" : "muted" }, figure.text), figure.confirmed ? ` (${search.best_repeats})` : "", figure.confirmed ? null : element("small", { class: "single" }, figure.note)),
      spark,
      element("td", { "data-pools": search.id }, known?.pools ?? (search.spec.pools?.join(", ") || "any")),
      element("td", {}, format.ago(search.created_at)),
      this.noteCell(search),
    );
  }

  toggle() {
    this.archived = !this.archived;
    this.onChange();
  }

  noteCell(search) {
    const { note = "", archived_at: archived = null } = this.notes.get(search.id) ?? {};
    const mayWrite = this.app.access.mayWrite;
    return element(
      "td", { class: "note-cell" },
      element("span", { class: "note" }, note),
      mayWrite ? element("button", { type: "button", class: "quiet", "aria-label": note ? `Edit the note on ${search.name}` : `Add a note to ${search.name}`, on: { click: () => this.edit(search, note) } }, note ? "Edit" : "Add a note") : null,
      mayWrite && (archived || hasEnded(search)) ? element("button", { type: "button", class: "quiet", "aria-label": `${archived ? "Bring back" : "Archive"} ${search.name}`, on: { click: () => this.keep(search, { archived: !archived }) } }, archived ? "Bring back" : "Archive") : null,
    );
  }

  edit(search, note) {
    const field = element("textarea", { rows: "4", maxlength: "2000", id: "note-text", "aria-label": `Note on ${search.name}` });
    field.value = note;
    const dialog = element("dialog", { "aria-label": `Note on ${search.name}` },
      element("form", { method: "dialog" }, element("h2", {}, `Note on ${search.name}`), field,
        element("div", { class: "dialog-buttons" }, element("button", { value: "", class: "quiet" }, "Cancel"), element("button", { value: "keep", class: "action" }, "Save the note"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (dialog.returnValue === "keep") this.keep(search, { note: field.value.trim() });
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  async keep(search, change) {
    try {
      await this.app.api.change("PATCH", `/searches/${encodeURIComponent(search.id)}/note`, change);
      this.onChange();
    } catch (error) {
      this.app.onNotice({ text: error.message, stale: false });
    }
  }

  // Lines are read one after another, and again only when a search has gone on.
  async readSparks(searches) {
    if (this.reading) return;
    this.reading = true;
    try {
      for (const search of searches) {
        const key = `${search.candidates_finished}`;
        if (search.candidates_finished === 0 || this.sparks.get(search.id)?.key === key) continue;
        const { best, pools } = await this.app.api.get(`/searches/${encodeURIComponent(search.id)}/charts/spark`);
        const last = best.filter((value) => value !== null).at(-1) ?? null;
        const node = sparkline(best, { label: last === null ? "no candidate has completed" : `best single run so far, now ${format.fitness(last)}` });
        this.sparks.set(search.id, { key, node, pools: pools.join(", ") });
        const cell = this.body.querySelector(`[data-spark="${CSS.escape(search.id)}"]`);
        if (cell) replace(cell, node.cloneNode(true));
        const where = this.body.querySelector(`[data-pools="${CSS.escape(search.id)}"]`);
        if (where && pools.length) setText(where, pools.join(", "));
      }
    } catch (error) {
      setText(this.note, error.message); // the table itself stands without them
    } finally {
      this.reading = false;
    }
  }
}

function stage(search) {
  if (hasEnded(search)) return "done";
  if (!search.baseline || (search.baseline.repeats < search.baseline.needed && search.candidates_finished === 0)) return "baseline";
  const { trials } = search.spec.limits;
  if (trials && search.candidates_finished >= trials && (search.counts.running || search.counts.queued)) return "confirming";
  return "search";
}
