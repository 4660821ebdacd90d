// Who does the work: the pools with what blocks them, and every worker's time.

import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { Frame } from "../charts/frame.js";
import { Pointer } from "../charts/pointer.js";
import { drawTimeline, workersOf } from "../charts/timeline.js";

export class MachinesTab {
  constructor(panel, { app, session, pick }) {
    Object.assign(this, { panel, app, session, pick, marks: [] });
  }

  close() {
    this.frame?.close();
  }

  read() {
    return Promise.all([this.session.get("/charts/machines"), this.pools()]);
  }

  show([spans, pools]) {
    if (!this.box?.isConnected) {
      this.frame?.close();
      this.summary = element("div", {});
      this.box = element("div", {});
      replace(this.panel, this.summary, this.box);
      this.frame = null;
    }
    replace(this.summary, poolsTable(pools, this.session.id));
    if (spans.worker.length === 0) {
      replace(this.box, element("p", { class: "state state-empty" }, "No worker has run a trial of this search yet."));
      return;
    }
    if (!this.frame) {
      this.frame = new Frame(this.box, { title: "Workers over time", file: "workers" });
      this.pointer = new Pointer({ frame: this.frame, marks: () => this.marks, area: () => null, opens: Boolean(this.pick) });
    }
    drawTimeline(this.frame, this.marks, workersOf(spans), this.pick);
  }

  pools() {
    const names = this.session.whole.overview.levels.map((level) => level.pool);
    const { signal } = this.session.abort;
    return Promise.all(names.slice(0, 12).map((name) => this.app.api.get(`/pools/${encodeURIComponent(name)}`, {}, signal).catch((error) => ({ pool: name, error: error.message }))));
  }
}

// Returns a table of pools; `search` names the one whose obstacles are said, or null for all.
export function poolsTable(pools, search) {
  if (pools.length === 0) return element("p", { class: "state state-empty" }, "No pool has run a trial yet.");
  const blocked = (pool) => (pool.searches ?? []).filter((one) => one.blocked && (search === null || one.search_id === search)).map((one) => (search === null ? `${one.name}: ${one.blocked}` : one.blocked)).join("; ");
  const cells = (pool) => [
    pool.devices?.join(", ") || format.NONE,
    format.whole(pool.workers), format.whole(pool.running),
    format.percent(pool.utilisation ?? null), format.milliseconds(pool.step_time_ms ?? null),
    pool.last_seen ? format.ago(pool.last_seen) : format.NONE,
    pool.error ?? (pool.retired_at ? "retired: it will not come back" : pool.drained_at ? "drained: no new trials start here" : blocked(pool) || "nothing"),
  ];
  return element(
    "div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Pools" },
    element(
      "table", { class: "plain" },
      element("thead", {}, element("tr", {}, ["Pool", "Devices", "Workers", "Running", "Busy", "Step", "Last seen", "Blocked by"].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, pools.map((pool) => element("tr", {}, element("th", { scope: "row" }, pool.pool), cells(pool).map((text) => element("td", {}, text))))),
    ),
  );
}
