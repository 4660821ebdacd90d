// The tabs below the charts. A tab reads what it shows when it is opened and, while it is open,
// again when the search has moved on; none reads the whole search. Only the newest answer of the open
// tab is shown: an older one, or one of a tab that was left, may arrive later.

import { element, replace } from "../core/dom.js";
import { showError, showLoading } from "../core/states.js";
import { FailuresTab } from "./failures.js";
import { FidelityTab } from "./fidelity.js";
import { LineageTab } from "./lineage.js";
import { MachinesTab } from "./machines.js";
import { PopulationTab } from "./population.js";
import { TrialsTab } from "./trials.js";
import { WhatHelpsTab } from "./what_helps.js";

const TABS = {
  trials: ["Trials", TrialsTab],
  population: ["Population", PopulationTab],
  lineage: ["Lineage", LineageTab],
  helps: ["What helps", WhatHelpsTab],
  fidelity: ["Fidelity and promotion", FidelityTab],
  failures: ["Failures", FailuresTab],
  machines: ["Machines", MachinesTab],
};
const REFRESH_MS = 6000;

// A tab is {read(), show(answer)}, and may have {close(), question(), redraw(), refreshMs}.
export class Tabs {
  // `context`: {app, session, pick(number)}.
  constructor(box, context) {
    this.context = context;
    this.buttons = Object.entries(TABS).map(([key, [label]]) =>
      element("button", { type: "button", role: "tab", id: `tab-${key}`, "data-tab": key, "aria-controls": "tab-panel", on: { click: () => context.app.state.set({ tab: key }) } }, label),
    );
    this.list = element("div", { class: "tab-list", role: "tablist", "aria-label": "Details of the search" }, this.buttons);
    this.list.addEventListener("keydown", (event) => this.walk(event));
    this.panel = element("div", { class: "tab-panel", role: "tabpanel", id: "tab-panel", tabindex: "-1" });
    replace(box, this.list, this.panel);
    this.readAt = 0;
  }

  close() {
    this.open?.close?.();
    this.open = null;
    clearTimeout(this.later);
  }

  // `what` changed: "address", "change", "slow" or "all".
  draw(what) {
    const { state } = this.context.app;
    const key = state.get("tab") in TABS ? state.get("tab") : "trials";
    if (this.key !== key) this.show(key);
    const { session } = this.context;
    const stretch = JSON.stringify([session.stretch(), this.open.question?.()]);
    const moved = this.stretch !== stretch;
    this.stretch = stretch;
    const seq = session.whole.overview.seq;
    if (moved || what === "all" || this.seq === undefined) this.read(seq);
    else if (this.seq !== seq) this.readLater(seq);
    else this.open.redraw?.();
  }

  show(key) {
    this.open?.close?.();
    this.key = key;
    this.seq = undefined;
    for (const button of this.buttons) {
      const chosen = button.dataset.tab === key;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      if (chosen) this.list.scrollLeft = button.offsetLeft - 48; // into view where the list is narrow
    }
    this.panel.setAttribute("aria-labelledby", `tab-${key}`);
    const [label, Tab] = TABS[key];
    showLoading(this.panel, label.toLowerCase());
    this.open = new Tab(this.panel, this.context);
  }

  async read(seq) {
    clearTimeout(this.later);
    this.later = null;
    this.readAt = Date.now();
    this.seq = seq;
    const { open } = this;
    const turn = {};
    this.turn = turn;
    const isLate = () => this.turn !== turn || open !== this.open;
    try {
      const answer = await open.read();
      if (!isLate()) open.show(answer);
    } catch (error) {
      if (error.name === "AbortError" || isLate()) return;
      showError(this.panel, error, () => {
        this.show(this.key);
        this.read(seq);
      });
    }
  }

  readLater(seq) {
    if (this.later) return;
    const pause = Math.max(0, this.readAt + (this.open.refreshMs ?? REFRESH_MS) - Date.now());
    this.later = setTimeout(() => this.read(seq), pause);
  }

  walk(event) {
    const at = this.buttons.indexOf(document.activeElement);
    const last = this.buttons.length - 1;
    const target = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (at < 0 || target === undefined) return;
    event.preventDefault();
    this.buttons[target].focus();
    this.buttons[target].click();
  }
}
