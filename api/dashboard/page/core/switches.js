// Switches: groups of buttons of which one is pressed, as a chart's axes and the pools have them.

import { element, replace } from "./dom.js";

// Returns a button. `key` tells it from all others of its box, also when it is drawn again.
export function option({ label, key, pressed, act, swatch = null }) {
  return element("button", { type: "button", class: "switch", "aria-pressed": String(pressed), "data-switch": key, on: { click: act } }, swatch, label);
}

// Returns a group of them with its label.
export function group(label, ...options) {
  return element("div", { class: "switches", role: "group", "aria-label": label }, element("span", { class: "switch-label" }, label), options);
}

// Draws groups into a box; the button that has the focus keeps it.
export function drawSwitches(box, ...groups) {
  const focused = document.activeElement?.dataset?.switch;
  replace(box, ...groups);
  if (focused) box.querySelector(`[data-switch="${focused}"]`)?.focus();
}
