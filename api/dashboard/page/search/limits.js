// The limits of a search, changed from the page. What the controller refuses is said beside them.

import { element, setText } from "../core/dom.js";

// Opens the dialog; `send(limits)` returns a promise that is rejected with the controller's sentence.
export function changeLimits(search, send) {
  const { trials, hours } = search.spec.limits;
  const field = (label, value, attributes) => {
    const input = element("input", { type: "number", value: value ?? "", placeholder: "no limit", ...attributes });
    return { input, row: element("label", { class: "field" }, element("span", {}, label), input) };
  };
  const most = field("Candidates", trials, { min: 1, step: 1, id: "limit-trials" });
  const time = field("Hours since it began, pauses included", hours, { min: 0.01, step: "any", id: "limit-hours" });
  const message = element("p", { class: "reason", role: "alert" });
  const cancel = element("button", { type: "button", class: "quiet" }, "Cancel");
  const form = element(
    "form", {},
    element("h2", {}, "Limits of this search"),
    element("p", {}, "The search confirms its finalists when either is reached. At least one must be set."),
    most.row, time.row, message,
    element("div", { class: "dialog-buttons" }, cancel, element("button", { class: "action" }, "Change limits")),
  );
  const dialog = element("dialog", { "aria-label": "Limits of this search" }, form);
  const close = () => dialog.close();
  cancel.addEventListener("click", close);
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = (input) => (input.value.trim() === "" ? null : Number(input.value));
    try {
      await send({ trials: given(most.input), hours: given(time.input) });
      close();
    } catch (error) {
      setText(message, error.message);
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}
