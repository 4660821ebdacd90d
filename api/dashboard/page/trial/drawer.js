// A trial in a drawer that scrolls by itself. It opens with what the page knows of the trial; what is
// read for it is filled in part by part.

import { element, replace, setText } from "../core/dom.js";
import * as format from "../core/format.js";
import { showError, showLoading } from "../core/states.js";
import { MOST_PINS } from "../core/url_state.js";
import { save } from "../charts/picture.js";
import { bestFigure, ofBest } from "../search/best_figure.js";
import { TrialDetails } from "./detail.js";
import { DrawerParts } from "./drawer_parts.js";
import { openPromotion } from "./promote.js";
import { whyNotAgain } from "./repeats.js";

const CALM_MS = 2000;

export class TrialDrawer {
  constructor(box, { app, session }) {
    Object.assign(this, { box, app, session, number: null });
    this.details = new TrialDetails(session);
    this.reading = new AbortController();
    this.title = element("h2", { id: "drawer-title", tabindex: "-1" });
    this.figure = element("span", { id: "drawer-fitness", class: "drawer-figure" });
    this.buttons = element("div", { class: "drawer-buttons" });
    this.outcome = element("p", { class: "reason", id: "drawer-outcome", role: "status" });
    this.body = element("div", { class: "drawer-body" });
    this.scroll = element("div", { class: "drawer-scroll", tabindex: "0", role: "region", "aria-label": "The trial" }, this.buttons, this.outcome, this.body);
    const close = element("button", { type: "button", class: "quiet", "aria-label": "Close the trial", on: { click: () => this.dismiss() } }, "✕");
    replace(box, element("div", { class: "drawer-head" }, this.title, this.figure, close), this.scroll);
    this.escape = (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]") || this.number === null) return;
      this.dismiss();
    };
    document.addEventListener("keydown", this.escape);
    this.scroll.addEventListener("scroll", () => {
      this.scrolled = true;
    }, { passive: true });
  }

  close() {
    document.removeEventListener("keydown", this.escape);
    this.parts?.close();
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
    const changed = number !== this.number;
    if (changed) {
      clearTimeout(this.later);
      this.later = null;
      this.reading.abort(); // nobody waits for the last one's answers
      this.reading = new AbortController();
    }
    this.number = number;
    this.box.hidden = number === null;
    document.body.classList.toggle("with-drawer", number !== null);
    if (number === null) return;
    if (changed) {
      setText(this.title, `Trial #${number}`);
      setText(this.figure, "");
      replace(this.outcome);
      const known = this.details.get(number);
      if (known) this.show(known);
      else this.showNothing(() => showLoading(this.body, `trial #${number}`));
      if (this.scrolled) this.scroll.scrollTop = 0; // which would lay out the page at once
      this.scrolled = false;
      this.read(number);
      return;
    }
    const known = this.parts && this.details.get(number);
    if (known) this.show(known); // the best, a baseline or who is signed in may have changed
    if (this.isOpenTrial() || this.seq !== this.session.whole.overview.seq) {
      this.readLater(number);
    }
  }

  // Buttons come and go with the state of the search and with who is signed in. The focus stays where it was: what happens meanwhile must not take it from the keyboard.
  drawButtons(trial) {
    const { app, session } = this;
    const key = JSON.stringify([trial.number, trial.status, Boolean(trial.genome), session.search.status, app.access.mayWrite, app.state.pins()]);
    if (this.drawnButtons === key) return;
    this.drawnButtons = key;
    const held = this.buttons.contains(document.activeElement) ? document.activeElement.dataset.does : null;
    replace(this.buttons, trial.genome ? this.actions(trial) : null);
    if (held) this.buttons.querySelector(`[data-does="${held}"]`)?.focus();
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
    const isShown = () => this.number === number;
    try {
      const exists = await this.details.read(number, this.reading.signal, (detail) => {
        if (isShown()) this.show(detail);
      });
      if (!isShown()) return;
      if (!exists) this.showMissing(number);
      else await this.readBeside(number);
    } catch (error) {
      if (error.name !== "AbortError" && isShown()) this.showNothing(() => showError(this.body, error, () => this.read(number)));
    }
  }

  // The rival and the other curves come a moment later; the trial does not wait for them.
  async readBeside(number) {
    const { trial } = this.details.get(number);
    try {
      await this.details.readBeside(trial.pool);
      if (this.number === number) this.show(this.details.get(number));
    } catch (error) {
      if (error.name !== "AbortError") this.app.onNotice({ text: error.message, stale: false });
    }
  }

  showMissing(number) {
    this.showNothing(() => replace(this.body, element("p", { class: "state state-empty" }, `This search has no trial #${number}.`), element("p", {}, element("a", { class: "linked", href: this.app.state.address({ trial: "" }) }, "Back to the search"))));
  }

  // Says something in the place of a trial.
  showNothing(say) {
    this.parts?.close();
    this.parts = null;
    this.drawnButtons = null;
    replace(this.buttons);
    say();
  }

  show(detail) {
    const { trial } = detail;
    const { session } = this;
    const best = session.best?.trial.number === trial.number ? session.best : null;
    setText(this.title, best ? `Best: trial #${trial.number}` : `Trial #${trial.number}`);
    setText(this.figure, best ? bestFigure(ofBest(best)).text : trial.status === "completed" && trial.kind !== "baseline" ? `${format.fitness(trial.fitness)} in one run` : format.name(format.standing(trial)));
    this.drawButtons(trial);
    this.parts ??= new DrawerParts(this.body, { session, link: (number) => this.link(number) });
    this.parts.draw(detail, this.details.beside(trial.pool));
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
    const pins = app.state.pins();
    const pinned = pins.includes(String(trial.number));
    const button = (label, title, act, off = false) => element("button", { type: "button", class: "quiet bordered", "data-does": label.replace("Unpin", "Pin"), title, disabled: off, on: { click: act } }, label);
    return [
      button(pinned ? "Unpin" : "Pin", "Keep it to compare with others, four at most", () => {
        const next = pinned ? pins.filter((one) => one !== String(trial.number)) : [...pins, String(trial.number)];
        app.state.set({ pins: next.join(",") });
      }, !pinned && pins.length >= MOST_PINS),
      button("Export", "Download its genome as JSON", () => save(`${session.search.name}-${trial.number}.json`, JSON.stringify(trial.genome, null, 2), "application/json")),
      ...this.writing(trial, button),
      button("Its descendants", "Show its subtree in the Lineage tab", () => app.state.set({ tab: "lineage", root: String(trial.number) })),
    ];
  }
}
