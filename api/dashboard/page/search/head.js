// The sticky head of a search: name, stage, progress, time left, workers, and the buttons that
// change it, for those who may.

import { restAddress } from "../core/api.js";
import { element, replace, setText } from "../core/dom.js";
import * as format from "../core/format.js";
import { ask } from "../core/ask.js";
import { STAGES, elapsedSeconds, hasEnded, standing } from "./stage.js";

const ACTIONS = {
  running: ["pause", "stop", "cancel"], paused: ["resume", "stop", "cancel"], stopping: ["cancel"],
  completed: [], stopped: [], cancelled: [], failed: [],
};
const HINTS = {
  pause: "No new trials; the running ones finish. Resume continues.",
  resume: "Start new trials again.",
  stop: "No new trials; when the running ones have finished, the search ends for good.",
  cancel: "End the running trials at once; their work is lost.",
};
const QUESTIONS = {
  stop: {
    title: "Stop this search?",
    text: "No new trial starts and the search ends for good when the running ones have finished; finalists that were not run again stay unconfirmed. A stopped search cannot be resumed; a paused one can.",
    yes: "Stop the search", no: "Keep it running",
  },
  cancel: {
    title: "Cancel this search?",
    text: "The running trials are ended at once and their work is lost; finished trials stay. A cancelled search cannot be resumed. Stop lets the running trials finish.",
    yes: "Cancel the search", no: "Keep it", grave: true,
  },
};

export class SearchHead {
  // `on`: {act(name), limits()}.
  constructor(box, on) {
    this.on = on;
    this.name = element("h1", { id: "search-name" });
    this.status = element("span", { id: "search-status", class: "status" });
    this.connection = element("span", { id: "search-connection", class: "connection", "data-state": "connecting" }, "connecting");
    this.actions = element("div", { class: "actions", role: "group", "aria-label": "Change the search" });
    this.stages = element("ol", { class: "stages", "aria-label": "Stages" }, STAGES.map((stage) => element("li", { "data-stage": stage }, stage)));
    this.progress = element("span", { id: "search-progress", class: "head-fact" });
    this.time = element("span", { id: "search-time", class: "head-fact" });
    this.workers = element("span", { id: "search-workers", class: "head-fact" });
    this.report = element("a", { id: "search-report", class: "linked", download: "", title: "These pictures in one file that needs no server" }, "Report");
    this.bar = element("div", { class: "bar", role: "progressbar", "aria-label": "Progress of this stage", "aria-valuemin": "0", "aria-valuemax": "100" }, element("span", {}));
    this.reason = element("p", { class: "reason", id: "search-reason", hidden: true });
    this.routing = element("p", { class: "reason", hidden: true }, "Not causal: this search reproduces the paper's routing, which lets a token see later ones. Its losses are not comparable.");
    replace(
      box,
      element("div", { class: "head-line" }, this.name, this.status, this.connection, this.actions),
      element("div", { class: "head-line head-facts" }, this.stages, this.progress, this.time, this.workers, this.report),
      this.bar, this.reason, this.routing,
    );
  }

  draw(search, { kinds, levels, pace, now, mayWrite }) {
    setText(this.name, search.name);
    this.name.title = search.id;
    this.report.setAttribute("href", restAddress(`/searches/${encodeURIComponent(search.id)}/report`));
    setText(this.status, format.name(search.status));
    this.status.className = `status status-${search.status}`;
    const { stage, share, text, left } = standing(search, { kinds, levels, pace, now });
    for (const item of this.stages.children) {
      const at = STAGES.indexOf(item.dataset.stage) - STAGES.indexOf(stage);
      if (at === 0) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
      item.className = at < 0 ? "passed" : "";
    }
    setText(this.progress, text);
    setText(this.time, [format.duration(elapsedSeconds(search, now)), left].filter(Boolean).join(", "));
    const running = search.counts.running ?? 0;
    setText(this.workers, hasEnded(search) ? "" : `${format.whole(running)} running`);
    this.bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    this.bar.firstElementChild.style.setProperty("--share", String(share));
    const failing = (levels ?? []).filter((level) => level.failure).map((level) => `Pool ${level.pool} takes no part: ${level.failure}.`);
    const why = [search.status !== "completed" && search.reason ? search.reason : "", ...failing].filter(Boolean).join(" ");
    this.reason.hidden = !why;
    setText(this.reason, why);
    this.routing.hidden = search.spec.proxy.routing !== "paper";
    this.drawButtons(search, mayWrite);
  }

  drawButtons(search, mayWrite) {
    const names = mayWrite ? ACTIONS[search.status] ?? [] : [];
    const key = names.join(" ");
    if (this.shown === key) return;
    this.shown = key;
    const buttons = names.map((name) =>
      element("button", { type: "button", class: `action action-${name}`, title: HINTS[name], on: { click: () => this.act(name) } }, name[0].toUpperCase() + name.slice(1)),
    );
    if (names.length) buttons.unshift(element("button", { type: "button", class: "action", title: "Change how many trials or hours the search may spend", on: { click: () => this.on.limits() } }, "Limits"));
    replace(this.actions, buttons);
  }

  async act(name) {
    if (QUESTIONS[name] && !(await ask(QUESTIONS[name]))) return;
    this.on.act(name);
  }

  drawConnection(state, ended) {
    this.connection.dataset.state = state;
    setText(this.connection, state === "live" ? (ended ? "up to date" : "live") : state);
  }
}
