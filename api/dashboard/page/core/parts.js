// Parts of a page that stand in a fixed order. A part is built anew only where what it shows has
// changed: what a reader has opened, scrolled or focused in another one stays as it is.

import { element, replace } from "./dom.js";

export class Parts {
  constructor(box, names) {
    this.boxes = new Map(names.map((name) => [name, element("div", { "data-part": name })]));
    this.shown = new Map();
    replace(box, ...this.boxes.values());
  }

  // Shows what `build` returns: nodes, text, a list of them, or null. `told` is what it is made from, as plain data.
  draw(name, told, build) {
    const key = JSON.stringify(told ?? null);
    if (this.shown.get(name) === key) return;
    this.shown.set(name, key);
    replace(this.boxes.get(name), build());
  }
}
