// The table of trials: sorted, filtered and paged here, over the rows that the page already
// holds. Every row is a link to its trial; arrow keys walk the rows, Home and End jump.

import { element, replace, setText } from "./dom.js";
import { symbol } from "./fitness_plot.js";
import * as format from "./format.js";
import { seriesOf } from "./series.js";

const ROWS_A_PAGE = 25;

// One entry a column: how to read it for sorting and how to draw it.
const COLUMNS = [
  { key: "number", label: "Trial", value: (row) => row.number, first: "asc" },
  { key: "status", label: "Status", value: (row) => format.standing(row), first: "asc" },
  { key: "layers", label: "Block", value: (row) => row.layers.length, first: "desc" },
  { key: "fitness", label: "Fitness", value: (row) => row.fitness, first: "desc", numeric: true },
  { key: "loss", label: "Loss", value: (row) => row.loss, first: "asc", numeric: true },
  { key: "bits", label: "Bits/byte", value: (row) => row.bitsPerByte, first: "asc", numeric: true },
  { key: "step", label: "Step", value: (row) => row.stepTimeMs, first: "asc", numeric: true },
  { key: "params", label: "Params", value: (row) => row.parameters, first: "asc", numeric: true },
  { key: "origin", label: "Origin", value: (row) => row.mutation || row.origin, first: "asc" },
];
const BY_KEY = Object.fromEntries(COLUMNS.map((column) => [column.key, column]));

export class TrialTable {
  // `parts`: {head, body, filter, status, pager, previous, next}; `state` is the UrlState.
  constructor(parts, state) {
    this.parts = parts;
    this.state = state;
    this.rows = [];
    parts.filter.addEventListener("input", () => state.set({ q: parts.filter.value, page: "" }));
    parts.status.addEventListener("change", () =>
      state.set({ status: parts.status.value, page: "" }),
    );
    parts.previous.addEventListener("click", () => this.turn(-1));
    parts.next.addEventListener("click", () => this.turn(1));
    parts.body.addEventListener("keydown", (event) => this.walk(event));
    parts.body.addEventListener("click", (event) => this.pick(event));
  }

  // Draws the rows. `selected` and `best` are trial numbers or null, `front` is a set of them.
  draw(rows, { selected, best, front }) {
    this.rows = rows;
    this.front = front;
    const { parts, state } = this;
    if (parts.filter !== document.activeElement) parts.filter.value = state.get("q");
    parts.status.value = state.get("status");
    this.drawHead();
    const found = this.sorted(this.filtered(rows));
    const pages = Math.max(1, Math.ceil(found.length / ROWS_A_PAGE));
    this.page = Math.min(Math.max(1, Number(state.get("page")) || 1), pages);
    const from = (this.page - 1) * ROWS_A_PAGE;
    const shown = found.slice(from, from + ROWS_A_PAGE);
    const focused = parts.body.contains(document.activeElement)
      ? document.activeElement.closest("tr")?.dataset.number
      : undefined;
    replace(parts.body, shown.map((row) => this.row(row, { selected, best })));
    if (focused) parts.body.querySelector(`tr[data-number="${focused}"] a`)?.focus();
    if (shown.length === 0) replace(parts.body, this.nothing(rows.length));
    const range = shown.length ? `${from + 1}–${from + shown.length} of ` : "";
    setText(parts.pager, `${range}${format.whole(found.length)}`);
    parts.previous.disabled = this.page <= 1;
    parts.next.disabled = this.page >= pages;
  }

  drawHead() {
    const [key, descending] = sortOf(this.state.get("sort"));
    const focused = document.activeElement?.dataset?.column;
    replace(
      this.parts.head,
      COLUMNS.map((column) => {
        const active = column.key === key;
        return element(
          "th",
          {
            scope: "col",
            class: `column-${column.key}${column.numeric ? " numeric" : ""}`,
            "aria-sort": active ? (descending ? "descending" : "ascending") : null,
          },
          element(
            "button",
            { type: "button", "data-column": column.key, on: { click: () => this.sort(column) } },
            column.label,
            element("span", { class: "arrow", "aria-hidden": "true" }, active ? (descending ? "↓" : "↑") : ""),
          ),
        );
      }),
    );
    if (focused) this.parts.head.querySelector(`[data-column="${focused}"]`)?.focus();
  }

  sort(column) {
    const [key, descending] = sortOf(this.state.get("sort"));
    const down = column.key === key ? !descending : column.first === "desc";
    this.state.set({ sort: `${down ? "-" : ""}${column.key}`, page: "" });
  }

  filtered(rows) {
    const status = this.state.get("status");
    const words = this.state.get("q").toLowerCase().split(/\s+/).filter(Boolean);
    if (!status && words.length === 0) return rows;
    return rows.filter((row) => {
      if (status && seriesOf(row) !== status && row.status !== status) return false;
      if (words.length === 0) return true;
      const text = [
        `#${row.number}`, row.kind, format.standing(row), row.origin, row.mutation,
        row.message, row.pool, row.digest.slice(0, 12), ...row.layers,
        row.parent === null ? "" : `parent:${row.parent}`,
        this.front.has(row.number) ? "pareto front" : "",
      ].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  sorted(rows) {
    const [key, descending] = sortOf(this.state.get("sort"));
    const { value } = BY_KEY[key];
    const sign = descending ? -1 : 1;
    return [...rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === y) return b.number - a.number;
      if (x === null || x === "") return 1; // missing values come last either way
      if (y === null || y === "") return -1;
      return sign * (x < y ? -1 : 1);
    });
  }

  row(row, { selected, best }) {
    const address = this.state.address({ trial: row.number });
    const key = seriesOf(row);
    const from = row.parent === null ? row.origin || row.kind : `#${row.parent} · ${row.mutation}`;
    const cell = (className, ...children) => element("td", { class: className }, ...children);
    return element(
      "tr",
      { "data-number": row.number, "aria-selected": String(row.number === selected) },
      element(
        "th",
        { scope: "row", class: "column-number" },
        element("a", { href: address }, `#${row.number}`),
        row.number === best ? element("span", { class: "tag" }, "best") : null,
        this.front.has(row.number)
          ? element("span", { class: "tag", title: "on the Pareto front: beaten by none in loss, step time and parameters" }, "front")
          : null,
      ),
      cell("column-status", key ? symbol(key) : null, format.name(format.standing(row))),
      cell("column-layers", strip(row.layers, row.modelDim)),
      cell("numeric strong", row.status === "completed" ? format.fitness(row.fitness) : format.NONE),
      cell("numeric", format.fixed(row.loss, 3)),
      cell("numeric column-bits", format.fixed(row.bitsPerByte, 3)),
      cell("numeric", format.milliseconds(row.stepTimeMs)),
      cell("numeric", format.count(row.parameters)),
      element("td", { class: "column-origin", title: from }, from),
    );
  }

  nothing(total) {
    const text = total === 0
      ? "No trial yet. They appear here as soon as a worker has claimed one."
      : "No trial matches these filters.";
    return element("tr", {}, element("td", { colspan: COLUMNS.length, class: "nothing" }, text));
  }

  turn(step) {
    this.state.set({ page: String(this.page + step) });
  }

  pick(event) {
    const row = event.target.closest("tr[data-number]");
    if (!row || event.ctrlKey || event.metaKey || event.shiftKey || getSelection().toString()) return;
    event.preventDefault();
    this.state.set({ trial: row.dataset.number }, { push: true });
  }

  walk(event) {
    const links = [...this.parts.body.querySelectorAll("th a")];
    const at = links.indexOf(document.activeElement);
    if (at < 0) return;
    const target = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (target === undefined || !links[target]) return;
    event.preventDefault();
    links[target].focus();
  }
}

// Returns a strip of small squares, one a sub-layer, coloured by kind.
export function strip(kinds, modelDim) {
  const label = kinds.map(format.name).join(", ");
  return element(
    "span",
    { class: "strip", role: "img", "aria-label": `model dim ${modelDim}: ${label}`, title: label },
    kinds.map((kind) => element("i", { class: `kind kind-${kind}` })),
  );
}

function sortOf(text) {
  const descending = text.startsWith("-");
  const key = descending ? text.slice(1) : text;
  return BY_KEY[key] ? [key, descending] : ["number", true];
}
