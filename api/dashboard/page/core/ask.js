// Asks before something that cannot be undone.

import { element } from "./dom.js";

// Returns a promise of whether the reader agrees. `question`: {title, text, yes, no, grave}.
export function ask({ title, text, yes, no = "Keep it as it is", grave = false }) {
  return new Promise((resolve) => {
    const dialog = element(
      "dialog",
      { "aria-label": title, class: "ask" },
      element(
        "form",
        { method: "dialog" },
        element("h2", {}, title),
        element("p", {}, text),
        element(
          "div",
          { class: "dialog-buttons" },
          element("button", { value: "", class: "quiet", autofocus: true }, no),
          element("button", { value: "yes", class: grave ? "action action-cancel" : "action" }, yes),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
