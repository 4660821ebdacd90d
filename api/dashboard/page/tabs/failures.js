// Why trials did not complete, the most frequent reason first, tracebacks folded.

import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { showEmpty } from "../core/states.js";

export class FailuresTab {
  constructor(panel, { app, session }) {
    Object.assign(this, { panel, app, session });
  }

  read() {
    return this.session.get("/charts/failures", this.session.stretch());
  }

  show({ items }) {
    if (items.length === 0) {
      showEmpty(this.panel, "No trial has failed, been cancelled or been pruned.");
      return;
    }
    const open = new Set([...this.panel.querySelectorAll("details[open]")].map((node) => node.dataset.key));
    const total = items.reduce((sum, one) => sum + one.count, 0);
    replace(
      this.panel,
      element("p", { class: "tab-note" }, `${format.whole(total)} trial${total === 1 ? "" : "s"} did not complete, for ${items.length} reason${items.length === 1 ? "" : "s"}. Messages that differ only in their numbers count as one reason. A pruned trial is a result, not a fault: it was too slow, or behind the baseline at 25% of the budget.`),
      element("ul", { class: "failures" }, items.map((one) => this.group(one, open))),
    );
  }

  group(one, open) {
    const key = `${one.status} ${one.outcome} ${one.reason}`;
    const word = one.status === "pruned" ? "pruned" : one.outcome || one.status;
    const table = this.app.state.address({ tab: "trials", q: word, sort: "" });
    return element(
      "li", { class: `failure failure-${one.status}` },
      element("div", { class: "failure-head" },
        element("span", { class: "failure-count" }, format.whole(one.count)),
        element("span", { class: "failure-what" }, format.name(one.outcome || one.status)),
        element("span", { class: "failure-reason" }, one.reason || "no message"),
        element("span", { class: "muted" }, one.pools.join(", ")),
        element("a", { class: "linked", href: this.app.state.address({ trial: one.newest }), "data-trial": one.newest }, `newest: #${one.newest}`),
        table && element("a", { class: "linked", href: table }, "in the table"),
      ),
      one.message && one.message !== one.reason ? element("p", { class: "failure-message" }, one.message) : null,
      one.traceback
        ? element("details", { "data-key": key, open: open.has(key) }, element("summary", {}, `Traceback of #${one.newest}`), element("pre", { tabindex: "0" }, one.traceback))
        : null,
    );
  }
}
