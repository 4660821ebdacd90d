// A new search: its spec in YAML, checked by the controller while it is typed, with the line of
// every fault, and the same as a command and as JSON beside it.

import { controllerUrl } from "../core/api.js";
import { element, replace, setText } from "../core/dom.js";
import { save } from "../charts/picture.js";
import { PRESETS } from "./presets.js";

const TYPING_MS = 350;

export class NewSearch {
  constructor(app) {
    this.app = app;
  }

  // Opens the dialog; `text` is a spec to begin with.
  open(text = null) {
    if (this.dialog?.isConnected) return;
    this.build(text ?? this.app.draft ?? Object.values(PRESETS)[0]);
    this.app.draft = null;
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.check();
  }

  close() {
    this.dialog?.close();
  }

  build(text) {
    this.field = element("textarea", { id: "spec-text", spellcheck: "false", autocomplete: "off", rows: "18", "aria-describedby": "spec-faults" });
    this.field.value = text;
    this.faults = element("div", { id: "spec-faults", role: "status" });
    this.command = element("pre", { tabindex: "0" }, element("code", {}));
    this.json = element("pre", { class: "spec-json", tabindex: "0" }, element("code", {}));
    this.send = element("button", { type: "submit", class: "action", id: "spec-create", disabled: true }, "Create the search");
    const preset = element("select", { id: "spec-preset" }, Object.keys(PRESETS).map((name) => element("option", {}, name)));
    preset.addEventListener("change", () => {
      this.field.value = PRESETS[preset.value];
      this.check();
    });
    const cancel = element("button", { type: "button", class: "quiet", on: { click: () => this.dialog.close() } }, "Cancel");
    const form = element("form", { class: "new-search" },
      element("div", { class: "spec-write" },
        element("div", { class: "tab-bar" }, element("label", { for: "spec-preset" }, "Begin with"), preset),
        element("label", { for: "spec-text" }, "The spec, in YAML"), this.field, this.faults),
      element("div", { class: "spec-beside" },
        element("h3", {}, "The same on the command line"), this.command,
        element("button", { type: "button", class: "quiet bordered", on: { click: () => save("search.yaml", this.field.value, "application/yaml") } }, "Save search.yaml"),
        element("h3", {}, "The same as JSON, defaults filled in"), this.json),
      element("div", { class: "dialog-buttons" }, cancel, this.send));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.field.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.send.disabled = true;
      this.typing = setTimeout(() => this.check(), TYPING_MS);
    });
    this.dialog = element("dialog", { class: "wide", "aria-labelledby": "new-search-title" }, element("h2", { id: "new-search-title" }, "New search"), form);
    this.dialog.addEventListener("close", () => {
      clearTimeout(this.typing);
      this.dialog.remove();
      if (this.app.state.get("view") === "new") this.app.state.set({ view: "" });
    });
    setText(this.command.firstElementChild, `brainformer search create -f search.yaml --url ${controllerUrl()}`);
  }

  async check() {
    const text = this.field.value;
    try {
      const spec = await this.app.api.change("POST", "/specs/check", text, "application/yaml");
      if (this.field.value !== text) return;
      replace(this.faults, element("p", { class: "good" }, "The controller can run this."));
      setText(this.json.firstElementChild, JSON.stringify(spec, null, 2));
      this.send.disabled = false;
    } catch (error) {
      if (this.field.value !== text) return;
      this.send.disabled = true;
      replace(this.faults, element("ul", { class: "faults" }, error.message.split("; ").map((part) => this.fault(part))));
    }
  }

  // A fault with a button that goes to its line.
  fault(text) {
    const line = /\(line (\d+)/.exec(text);
    return element("li", {}, text, line ? element("button", { type: "button", class: "quiet", on: { click: () => this.goTo(Number(line[1])) } }, `Go to line ${line[1]}`) : null);
  }

  goTo(line) {
    const lines = this.field.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    this.field.focus();
    this.field.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  }

  async submit() {
    this.send.disabled = true;
    try {
      const made = await this.app.api.change("POST", "/searches", this.field.value, "application/yaml");
      this.dialog.close();
      this.app.state.set({ search: made.id, view: "" }, { push: true });
    } catch (error) {
      replace(this.faults, element("p", { class: "reason" }, error.message));
      this.send.disabled = false;
    }
  }
}
