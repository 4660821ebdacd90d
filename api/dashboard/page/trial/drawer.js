// A trial in a drawer that scrolls by itself: its block, what was changed, its curve beside the
// rival's, where it comes from, what it costs, and how its attempts went.

import { element, replace, setText } from "../core/dom.js";
import * as format from "../core/format.js";
import { showError, showLoading } from "../core/states.js";
import { MOST_PINS } from "../core/url_state.js";
import { save } from "../charts/picture.js";
import { curvePoints, drawCurves, rivalCurve } from "../charts/curves.js";
import { Frame } from "../charts/frame.js";
import { bestFigure, ofBest } from "../search/best_figure.js";
import { blockDiagram } from "./block_diagram.js";
import { inWords } from "./changes.js";
import { TrialDetails } from "./detail.js";
import { openPromotion } from "./promote.js";
import { repeatsSection, whyNotAgain } from "./repeats.js";
import { attemptList, comparison, costTable, measurements } from "./facts.js";

const KINDS = {
  baseline: "The baseline: what every candidate of its pool is measured against.", confirmation: "A finalist run again with a fresh seed.",
  repeat: "A run that was asked for, beside the search.",
  promotion: "A block at a larger scale.", certificate: "A run of a certificate.",
};
const ORIGINS = { seed: "A seed that the spec names.", random: "Drawn at random from the space." };
const CALM_MS = 2000;

export class TrialDrawer {
  constructor(box, { app, session }) {
    Object.assign(this, { box, app, session, number: null });
    this.details = new TrialDetails(session);
    this.title = element("h2", { id: "drawer-title", tabindex: "-1" });
    this.figure = element("span", { id: "drawer-fitness", class: "drawer-figure" });
    this.buttons = element("div", { class: "drawer-buttons" });
    this.outcome = element("p", { class: "reason", id: "drawer-outcome", role: "status" });
    this.body = element("div", { class: "drawer-body" });
    const close = element("button", { type: "button", class: "quiet", "aria-label": "Close the trial", on: { click: () => this.dismiss() } }, "✕");
    replace(box, element("div", { class: "drawer-head" }, this.title, this.figure, close), element("div", { class: "drawer-scroll", tabindex: "0", role: "region", "aria-label": "The trial" }, this.buttons, this.outcome, this.body));
    this.escape = (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]") || this.number === null) return;
      this.dismiss();
    };
    document.addEventListener("keydown", this.escape);
  }

  close() {
    document.removeEventListener("keydown", this.escape);
    this.frame?.close();
    clearTimeout(this.later);
    this.box.hidden = true;
    document.body.classList.remove("with-drawer");
  }

  dismiss() {
    const { number } = this;
    this.app.state.set({ trial: "" }, { push: true });
    document.querySelector(`.grid-row[data-number="${number}"] a`)?.focus({ preventScroll: true });
  }

  // Shows a trial; null closes the drawer.
  draw(number) {
    if (number !== this.number) {
      clearTimeout(this.later);
      this.later = null;
    }
    const changed = number !== this.number;
    this.number = number;
    this.box.hidden = number === null;
    document.body.classList.toggle("with-drawer", number !== null);
    if (number === null) return;
    if (changed) {
      setText(this.title, `Trial #${number}`);
      setText(this.figure, "");
      replace(this.outcome);
      const known = this.known(number);
      if (known) this.show(known);
      else {
        replace(this.buttons);
        showLoading(this.body, `trial #${number}`);
      }
      this.box.querySelector(".drawer-scroll").scrollTop = 0;
      this.read(number);
      return;
    }
    this.followRights();
    if (this.isOpenTrial() || this.seq !== this.session.whole.overview.seq) {
      this.readLater(number);
    }
  }

  // Buttons come and go with the state of the search and with who is signed in.
  followRights() {
    const rights = this.rights();
    const known = this.known(this.number);
    if (rights === this.drawnRights || !known) return;
    this.drawButtons(known.trial);
  }

  // The focus stays where it was: what happens meanwhile must not take it from the keyboard.
  drawButtons(trial) {
    const held = this.buttons.contains(document.activeElement) ? document.activeElement.dataset.does : null;
    replace(this.buttons, this.actions(trial));
    if (held) this.buttons.querySelector(`[data-does="${held}"]`)?.focus();
  }

  rights() {
    return `${this.session.search.status} ${this.app.access.mayWrite}`;
  }

  // What can be shown at once: what was read of a trial, or else what the table knows of it.
  known(number) {
    return this.details.get(number) ?? this.partial(number);
  }

  // What the table knows of a trial: enough to open the drawer at once.
  partial(number) {
    const record = this.session.rows.get(number);
    return record ? { trial: { ...record, attempts: [], changes: [] }, ancestry: [], parent: null, costs: null, repeats: { asked: [], race: [] } } : null;
  }

  // News are read soon, and not more often than a reader could follow.
  readLater(number) {
    if (this.later) return;
    this.later = setTimeout(() => {
      this.later = null;
      if (this.number === number) this.read(number);
    }, Math.max(0, (this.readAt ?? 0) + CALM_MS - Date.now()));
  }

  isOpenTrial() {
    const status = this.details.get(this.number)?.trial.status;
    return status === "running" || status === "queued";
  }

  async read(number) {
    this.readAt = Date.now();
    this.seq = this.session.whole.overview.seq;
    try {
      const told = (detail) => JSON.stringify(detail && [detail.trial, detail.repeats]);
      const before = told(this.details.get(number));
      const detail = await this.details.read(number);
      if (this.number !== number) return;
      if (detail === null) this.showMissing(number);
      else if (before !== told(detail) || !this.shown || this.shown !== number) this.show(detail);
    } catch (error) {
      if (error.name !== "AbortError" && this.number === number) showError(this.body, error, () => this.read(number));
    }
  }

  showMissing(number) {
    this.shown = null;
    replace(this.buttons);
    replace(this.body, element("p", { class: "state state-empty" }, `This search has no trial #${number}.`), element("p", {}, element("a", { class: "linked", href: this.app.state.address({ trial: "" }) }, "Back to the search")));
  }

  show(detail) {
    const { trial, parent } = detail;
    const { session } = this;
    this.shown = trial.number;
    const best = session.best?.trial.number === trial.number ? session.best : null;
    setText(this.title, best ? `Best: trial #${trial.number}` : `Trial #${trial.number}`);
    setText(this.figure, best ? bestFigure(ofBest(best)).text : trial.status === "completed" && trial.kind !== "baseline" ? `${format.fitness(trial.fitness)} in one run` : format.name(format.standing(trial)));
    this.drawButtons(trial);
    const level = session.whole.overview.levels.find((one) => one.pool === trial.pool) ?? null;
    const facts = [format.name(trial.kind), trial.pool, format.name(format.standing(trial)), trial.in_population ? "in the population" : "", trial.label].filter(Boolean);
    this.frame?.close();
    const curveBox = element("div", {});
    const compareBox = element("div", {}, comparison([trial], level, null));
    const diagram = blockDiagram(trial.genome, { proxy: session.search.spec.proxy, parent: parent?.genome ?? null, label: `Block of trial #${trial.number}` });
    const words = inWords(trial.changes, parent?.genome);
    const section = (title, ...children) => element("section", {}, element("h3", {}, title), children);
    replace(
      this.body,
      element("p", { class: "muted", id: "drawer-summary" }, facts.join(" · ")),
      best ? element("p", { class: "muted" }, best.repeats ? `${format.fitness(trial.fitness)} in the run that selected it, which is not counted; ${bestFigure(ofBest(best)).note}.` : bestFigure(ofBest(best)).note) : null,
      trial.message ? element("p", { class: "reason", id: "drawer-message" }, trial.message) : null,
      compareBox,
      section("Block", element("div", { class: "drawer-block" }, diagram), parent ? element("p", { class: "changed-note" }, "differs from its parent") : null),
      section("Where it comes from", element("p", { id: "drawer-origin" }, origin(trial)), words.length ? element("ul", { class: "changes" }, words.map((text) => element("li", {}, text))) : null, this.ancestry(detail)),
      repeatsSection(detail.repeats, (one) => this.link(one.number)),
      section("Learning curve", curveBox),
      section("Costs by sub-layer, of one block", element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Costs by sub-layer" }, detail.costs ? costTable(detail.costs) : "…")),
      section("Measured", measurements(trial)),
      section("Attempts", trial.attempts.length ? attemptList(trial.attempts) : element("p", { class: "muted" }, "none yet")),
    );
    this.frame = new Frame(curveBox, { title: `Learning curve of #${trial.number}`, file: `curve-${trial.number}`, height: 180 });
    this.drawCurve(trial, null, []);
    this.fillAside(trial, level, compareBox);
  }

  // The rival and the other curves come a moment later; the trial does not wait for them.
  async fillAside(trial, level, compareBox) {
    try {
      const [rival, others] = await Promise.all([this.details.rival(trial.pool), this.details.others(trial.pool)]);
      if (this.number !== trial.number) return;
      replace(compareBox, comparison([trial], level, rival));
      this.drawCurve(trial, rival, others);
    } catch (error) {
      if (error.name !== "AbortError") this.app.onNotice({ text: error.message, stale: false });
    }
  }

  drawCurve(trial, rival, others) {
    drawCurves(this.frame, [
      ...others.filter((one) => one.number !== trial.number).map((one) => ({ label: `#${one.number}`, points: curvePoints(one.curve), style: "faint" })),
      ...(rival && rival.number !== trial.number ? [rivalCurve(rival)] : []),
      { label: `#${trial.number}`, points: curvePoints(trial.measurements.curve), style: "own" },
    ]);
  }

  ancestry({ ancestry }) {
    if (ancestry.length < 2) return null;
    return element("ol", { class: "ancestry", "aria-label": "Ancestors, youngest first" }, ancestry.slice(1).map((one) =>
      element("li", {},
        this.link(one.number),
        ` ${one.status === "completed" ? format.fitness(one.fitness) : one.status}`,
        element("span", { class: "muted" }, one.mutation ? ` by ${one.mutation}` : `, ${one.origin || "founder"}`))));
  }

  link(number) {
    return element("a", { class: "linked", href: this.app.state.address({ trial: number }), "data-trial": number }, `#${number}`);
  }

  // Queues the block once more; what the controller says stands below the buttons.
  async runAgain(trial) {
    if (this.asking) return;
    this.asking = true;
    const { session } = this;
    const isShown = () => this.number === trial.number;
    try {
      const made = await this.app.api.post(`/searches/${encodeURIComponent(session.id)}/trials/${trial.number}/repeats`);
      if (isShown()) replace(this.outcome, "Trial ", this.link(made.number), ` runs this block once more on ${made.pool}.`);
      session.refresh();
    } catch (error) {
      if (isShown()) setText(this.outcome, error.message);
    } finally {
      this.asking = false;
    }
  }

  promote(trial) {
    const { app, session } = this;
    openPromotion({ app, session, number: trial.number, onMade: () => {
      session.tell("all"); // an open tab reads again
      app.state.set({ trial: "", tab: "fidelity" }, { push: true });
      document.getElementById("tab-fidelity")?.focus();
    } });
  }

  // Buttons of those who may change searches; what makes no sense for the trial is left out.
  writing(trial, button) {
    const { app, session } = this;
    if (!app.access.mayWrite) return [];
    const why = whyNotAgain(trial, session.search);
    const candidate = trial.kind === "candidate";
    return [
      button("Use as seed", "Begin a new search with this block", () => app.useAsSeed(session.search, trial)),
      candidate ? button("Run again", why || "Run this block once more, with a fresh seed, on its pool", () => this.runAgain(trial), why !== "") : null,
      candidate && trial.status === "completed" ? button("Promote", "Train this block and the rival at larger scales", () => this.promote(trial)) : null,
    ];
  }

  actions(trial) {
    const { app, session } = this;
    this.drawnRights = this.rights();
    const pins = app.state.pins();
    const pinned = pins.includes(String(trial.number));
    const button = (label, title, act, off = false) => element("button", { type: "button", class: "quiet bordered", "data-does": label.replace("Unpin", "Pin"), title, disabled: off, on: { click: act } }, label);
    return [
      button(pinned ? "Unpin" : "Pin", "Keep it to compare with others, four at most", () => {
        const next = pinned ? pins.filter((one) => one !== String(trial.number)) : [...pins, String(trial.number)];
        app.state.set({ pins: next.join(",") });
        this.shown = null;
        const known = this.known(trial.number);
        if (known) this.show(known);
      }, !pinned && pins.length >= MOST_PINS),
      button("Export", "Download its genome as JSON", () => save(`${session.search.name}-${trial.number}.json`, JSON.stringify(trial.genome, null, 2), "application/json")),
      ...this.writing(trial, button),
      button("Its descendants", "Show its subtree in the Lineage tab", () => app.state.set({ tab: "lineage", root: String(trial.number) })),
    ];
  }
}

function origin(trial) {
  if (trial.kind === "repeat") return `${KINDS.repeat} It repeats #${trial.parent_number}.`;
  if (trial.kind === "confirmation" && trial.parent_number !== null) return `${KINDS.confirmation} It repeats #${trial.parent_number}.`;
  if (trial.parent_number !== null) return `From #${trial.parent_number} by: ${trial.mutation || "a copy"}.`;
  return KINDS[trial.kind] ?? ORIGINS[trial.origin] ?? "";
}
