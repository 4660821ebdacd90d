// What stands where a picture or a table will be: that it is loading, that there is nothing, or
// that it could not be read. The three never look alike, and none looks like a result.

import { element, replace } from "./dom.js";

export function showLoading(box, what) {
  replace(box, element("p", { class: "state state-loading", role: "status" }, `Loading ${what} …`));
}

export function showEmpty(box, text) {
  replace(box, element("p", { class: "state state-empty" }, text));
}

export function showError(box, error, retry = null) {
  replace(
    box,
    element(
      "div",
      { class: "state state-error", role: "alert" },
      element("p", {}, error.message),
      retry && element("button", { type: "button", class: "quiet", on: { click: retry } }, "Try again"),
    ),
  );
}
