// The table of trials: virtual, so that a hundred thousand rows cost as much as thirty; sorted and
// filtered by the controller.

import { restAddress } from "../core/api.js";
import { element, replace, setText } from "../core/dom.js";
import * as format from "../core/format.js";
import { mark } from "../charts/axes.js";
import { seriesOf } from "../charts/marks.js";

const ROW = 34; // pixels, as in the style sheet
const PAGE = 100; // rows a request
const SPARE = 12; // rows drawn above and below what is seen
const FILTER_MS = 250;

// One entry a column: its sort as the controller names it, and which direction comes first.
const COLUMNS = [
  { key: "number", label: "Trial", first: "-" },
  { key: "status", label: "Status", first: "" },
  { key: "pool", label: "Pool", first: "" },
  { key: null, label: "Block" },
  { key: "fitness", label: "Fitness", first: "-", numeric: true, title: "of the single run, against the baseline of its own pool" },
  { key: "loss", label: "Loss", first: "", numeric: true },
  { key: "step_time_ms", label: "Step", first: "", numeric: true },
  { key: "parameters", label: "Params", first: "", numeric: true },
  { key: "finished", label: "Ended", first: "-" },
  { key: null, label: "Origin" },
];

export class TrialsTab {
  constructor(panel, { app, session, pick }) {
    Object.assign(this, { panel, app, session, pick, pages: new Map(), total: null, refreshMs: 3000 });
    this.filter = element("input", { id: "table-filter", type: "search", placeholder: "moe, swap, failed, cpu, front, parent:12, #7 …", autocomplete: "off", spellcheck: "false", value: app.state.get("q") });
    this.count = element("span", { id: "table-count", role: "status" });
    this.head = element("div", { class: "grid-row grid-head", role: "row" });
    this.body = element("div", { class: "grid-body", role: "rowgroup" });
    this.box = element("div", { class: "grid-scroll", tabindex: "0" }, element("div", { class: "grid", role: "grid", "aria-label": "Trials" }, element("div", { role: "rowgroup", class: "grid-headgroup" }, this.head), this.body));
    replace(
      panel,
      element("div", { class: "tab-bar" },
        element("label", { for: "table-filter" }, "Filter"), this.filter, this.count,
        element("a", { class: "linked", href: restAddress(`/searches/${encodeURIComponent(session.id)}/trials.jsonl`), download: "" }, "All as JSON Lines")),
      this.box,
    );
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.walk(event));
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.filter.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => app.state.set({ q: this.filter.value }), FILTER_MS);
    });
    Object.assign(this, { top: 0, height: 480 }); // as last laid out: to ask would have the page laid out at once
    this.resizer = new ResizeObserver(() => this.resized());
    this.resizer.observe(this.box);
  }

  close() {
    clearTimeout(this.typing);
    this.resizer.disconnect();
  }

  resized() {
    this.height = this.box.clientHeight;
    this.drawRows();
  }

  scrollTo(top) {
    this.top = Math.max(0, top);
    this.box.scrollTop = top;
  }

  question() {
    return [this.app.state.get("q"), this.app.state.get("sort")];
  }

  get sort() {
    const given = this.app.state.get("sort");
    return COLUMNS.some((column) => column.key && column.key === given.replace(/^-/, "")) ? given : "-number";
  }

  async read() {
    const key = JSON.stringify([this.question(), this.session.stretch()]);
    if (this.key !== key) {
      this.key = key;
      this.pages.clear();
      if (this.top > 0) this.scrollTo(0);
      if (this.filter !== document.activeElement) this.filter.value = this.app.state.get("q");
    }
    this.drawHead();
    const stale = [...this.pages.keys()];
    const { first, last } = this.window();
    const wanted = new Set([Math.floor(first / PAGE), Math.floor(last / PAGE)]);
    await Promise.all([...wanted].map((page) => this.readPage(page, key)));
    return stale.filter((page) => !wanted.has(page));
  }

  // Pages that were not read again no longer fit those that were.
  show(outdated) {
    for (const page of outdated) this.pages.delete(page);
    this.drawRows();
  }

  async readPage(page, key) {
    const words = this.app.state.get("q").trim().split(/\s+/).filter(Boolean).slice(0, 8).map((word) => word.slice(0, 64));
    const found = await this.session.get("/charts/table", { ...this.session.stretch(), sort: this.sort, word: words, offset: page * PAGE, limit: PAGE });
    if (this.key !== key) return;
    this.pages.set(page, found.items);
    this.total = found.total;
    this.drawn = null;
    const { rows } = this.session;
    if (rows.size > 1000) rows.clear();
    for (const record of found.items) rows.set(record.number, record);
  }

  window() {
    const { top, height } = this;
    const first = Math.max(0, Math.floor(top / ROW) - SPARE);
    const last = Math.min(Math.max(0, (this.total ?? PAGE) - 1), Math.ceil((top + height) / ROW) + SPARE);
    return { first, last };
  }

  scrolled() {
    if (this.scrolling) return;
    this.scrolling = true;
    requestAnimationFrame(() => {
      this.scrolling = false;
      this.top = this.box.scrollTop;
      this.drawRows();
      this.fetchMissing();
    });
  }

  // Reads the pages in view that are not there; one that cannot be read is asked for again later.
  async fetchMissing() {
    const { first, last } = this.window();
    for (const page of new Set([Math.floor(first / PAGE), Math.floor(last / PAGE)])) {
      if (this.pages.has(page)) continue;
      this.pages.set(page, null);
      try {
        await this.readPage(page, this.key);
      } catch {
        this.pages.delete(page);
      }
      this.drawRows();
    }
  }

  redraw() {
    this.drawRows();
  }

  drawHead() {
    const given = this.sort;
    const focused = document.activeElement?.dataset?.column;
    replace(this.head, COLUMNS.map((column) => {
      if (!column.key) return element("div", { role: "columnheader", class: "grid-cell" }, column.label);
      const active = given.replace(/^-/, "") === column.key;
      const down = given.startsWith("-");
      const next = active ? `${down ? "" : "-"}${column.key}` : `${column.first}${column.key}`;
      return element(
        "div", { role: "columnheader", class: `grid-cell${column.numeric ? " numeric" : ""}`, "aria-sort": active ? (down ? "descending" : "ascending") : null, title: column.title },
        element("button", { type: "button", "data-column": column.key, on: { click: () => this.app.state.set({ sort: next === "-number" ? "" : next }) } }, column.label, active ? (down ? " ↓" : " ↑") : ""),
      );
    }));
    if (focused) this.head.querySelector(`[data-column="${focused}"]`)?.focus();
  }

  drawRows() {
    if (this.total === null) return;
    setText(this.count, this.total === 0 ? "" : `${format.whole(this.total)} trial${this.total === 1 ? "" : "s"}`);
    this.body.style.height = `${Math.max(1, this.total) * ROW}px`;
    if (this.total === 0) {
      const filtered = this.app.state.get("q") || this.session.isPart;
      replace(this.body, element("div", { role: "row", class: "grid-nothing" }, element("div", { role: "gridcell" }, filtered ? "No trial matches these filters." : "No trial yet. They appear here as soon as a worker has claimed one.")));
      return;
    }
    const { first, last } = this.window();
    const key = JSON.stringify([first, last, this.session.best?.trial.number, this.app.state.get("pins")]);
    if (this.drawn === key) {
      this.select();
      return;
    }
    this.drawn = key;
    const focused = document.activeElement?.closest?.(".grid-row")?.dataset?.number;
    const rows = [];
    for (let i = first; i <= last; i += 1) {
      const record = this.pages.get(Math.floor(i / PAGE))?.[i % PAGE];
      rows.push(record ? this.row(record, i) : element("div", { role: "row", class: "grid-row grid-pending", style: `top:${i * ROW}px` }, element("div", { role: "gridcell", class: "grid-cell" }, "…")));
    }
    replace(this.body, rows);
    if (focused) this.body.querySelector(`[data-number="${focused}"] a`)?.focus({ preventScroll: true });
  }

  // Another row is selected: no row is drawn anew for it.
  select() {
    const number = this.app.state.get("trial");
    const wanted = number && this.body.querySelector(`.grid-row[data-number="${Number(number)}"]`);
    for (const row of this.body.querySelectorAll(".grid-row[aria-selected='true']")) if (row !== wanted) row.setAttribute("aria-selected", "false");
    if (wanted) wanted.setAttribute("aria-selected", "true");
  }

  row(record, index) {
    const measured = record.measurements ?? {};
    const best = this.session.best?.trial.number === record.number;
    const selected = this.app.state.get("trial") === String(record.number);
    const series = seriesOf({ ...record, member: record.in_population });
    const from = originOf(record);
    const cell = (className, ...children) => element("div", { role: "gridcell", class: `grid-cell ${className}` }, ...children);
    const completed = record.status === "completed";
    const level = this.session.whole.overview.levels.find((one) => one.pool === record.pool);
    const fitness = record.kind === "baseline" && completed && level?.loss ? level.loss - measured.validation_loss : record.fitness;
    return element(
      "div", { role: "row", class: "grid-row", style: `top:${index * ROW}px`, "data-number": record.number, "data-index": index, "aria-selected": String(selected), "aria-rowindex": index + 2 },
      cell("", element("a", { href: this.app.state.address({ trial: record.number }), "data-trial": record.number }, `#${record.number}`), best ? element("span", { class: "tag" }, "best") : null),
      cell("status-cell", series ? mark(series) : null, element("span", {}, format.name(format.standing(record))), record.kind === "candidate" ? null : element("span", { class: "muted" }, ` ${record.kind}`)),
      cell("", record.pool ?? format.NONE),
      cell("", strip(record.genome)),
      cell("numeric strong", completed ? format.fitness(fitness) : format.NONE),
      cell("numeric", completed ? format.fixed(measured.validation_loss, 4) : format.NONE),
      cell("numeric", format.milliseconds(measured.step_time_ms)),
      cell("numeric", format.count(measured.parameters ?? record.parameters)),
      cell("muted", record.finished_at ? format.moment(record.finished_at) : format.NONE),
      cell("origin muted", element("span", { title: from }, from)),
    );
  }

  clicked(event) {
    const row = event.target.closest(".grid-row[data-number]");
    if (!row || event.ctrlKey || event.metaKey || event.shiftKey || getSelection().toString()) return;
    event.preventDefault();
    this.pick(Number(row.dataset.number));
  }

  walk(event) {
    const row = document.activeElement?.closest?.(".grid-row[data-index]");
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || (!row && document.activeElement !== this.box) || !this.total) return;
    event.preventDefault();
    const at = row ? Number(row.dataset.index) : -1;
    const target = Math.min(this.total - 1, Math.max(0, row ? at + step : 0));
    const top = target * ROW;
    const high = this.height - ROW * 2;
    if (top < this.top) this.scrollTo(top);
    else if (top > this.top + high) this.scrollTo(top - high);
    this.drawRows();
    this.fetchMissing().then(() => this.body.querySelector(`[data-index="${target}"] a`)?.focus({ preventScroll: true }));
    this.body.querySelector(`[data-index="${target}"] a`)?.focus({ preventScroll: true });
  }
}

function originOf(record) {
  if (record.parent_number === null) return record.label || record.origin || record.kind;
  return record.kind === "candidate" ? `#${record.parent_number} · ${record.mutation}` : `#${record.parent_number} once more`;
}

// Returns a strip of small squares, one a sub-layer, coloured and shaped by kind.
export function strip(genome) {
  const kinds = (genome?.layers ?? []).map((layer) => layer.kind);
  const label = kinds.map(format.name).join(", ");
  return element("span", { class: "strip", role: "img", "aria-label": `model dim ${genome?.model_dim}: ${label}`, title: label }, kinds.map((kind) => element("i", { class: `kind kind-${kind}` })));
}
