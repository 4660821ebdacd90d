// The page: signs in, and shows the front page or one search, as the address says.

import { Access } from "./core/access.js";
import { Api } from "./core/api.js";
import { setText } from "./core/dom.js";
import { installThemeToggle } from "./core/theme_toggle.js";
import { TokenPrompt } from "./core/token_prompt.js";
import { FIELDS, UrlState } from "./core/url_state.js";
import { HomePage } from "./home/home.js";
import { SearchPage } from "./search/page.js";

const part = (id) => document.getElementById(id);

class App {
  constructor() {
    const prompt = new TokenPrompt({ dialog: part("token-dialog"), form: part("token-form"), field: part("token-field"), message: part("token-message") });
    this.api = new Api((message) => prompt.ask(message));
    this.access = new Access(this.api);
    this.state = new UrlState(() => this.follow());
    this.draft = null; // a spec that the form begins with
    installThemeToggle(part("theme"));
    part("notice-retry").addEventListener("click", () => this.retry?.());
    document.addEventListener("click", (event) => this.followLink(event));
    this.onNotice = (notice) => this.drawNotice(notice);
  }

  async start() {
    this.follow();
    for (;;) {
      try {
        await this.access.read();
        this.follow();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 3000)); // until then nothing is offered
      }
    }
  }

  // Makes the page show what the address says.
  follow() {
    const id = this.state.get("search");
    if (this.page && this.id === id) {
      this.page.follow();
      return;
    }
    this.page?.close();
    this.id = id;
    part("drawer").hidden = true;
    part("pins").hidden = true;
    this.page = id ? new SearchPage(part("view"), this, id) : new HomePage(part("view"), this);
    part("home-link").toggleAttribute("aria-current", !id);
  }

  drawNotice(notice) {
    part("notice").hidden = notice === null;
    if (notice === null) return;
    part("notice").classList.toggle("stale", notice.stale);
    setText(part("notice-text"), notice.text);
    this.retry = notice.retry;
    part("notice-retry").hidden = !notice.retry;
  }

  // Opens the form for a new search with the spec of this one and the trial's block as its seed.
  useAsSeed(search, trial) {
    const spec = { ...search.spec, name: `${search.spec.name}-from-${trial.number}`.slice(0, 64), seeds: [trial.genome] };
    this.draft = JSON.stringify(spec, null, 2);
    this.state.set({ ...Object.fromEntries(FIELDS.map((field) => [field, ""])), view: "new" }, { push: true });
  }

  // Links within the page change the state without loading it anew.
  followLink(event) {
    const link = event.target.closest?.("a[href^='?'], a[href='./']");
    if (!link || event.defaultPrevented || event.button !== 0) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const query = new URLSearchParams(new URL(link.href).search);
    this.state.set(Object.fromEntries(FIELDS.map((field) => [field, query.get(field) ?? ""])), { push: true });
  }
}

new App().start();
