// How a reader points at a chart: hover and click find the nearest mark, a drag chooses a stretch,
// a double click gives the whole again; with the keyboard, arrows walk the marks, Enter opens one,
// plus and minus zoom, 0 shows the whole.

import { element, replace, setText, svg } from "../core/dom.js";

const REACH = 26; // pixels from the pointer to a mark
const DRAG = 5;

// Returns what opens a trial's mark; null where nothing is there to open it.
export function opening(pick, number) {
  return pick ? () => pick(number) : null;
}

export class Pointer {
  // `chart`: {frame, marks() -> [{x, y, label() -> [lines], number, open()}], area() -> plot's edges}.
  // `onStretch(from, to)` with places in pixels, null for the whole; `onZoom(factor, place)`; `opens`
  // says whether marks can be opened.
  constructor({ frame, marks, area, onStretch = null, onZoom = null, opens = true }) {
    Object.assign(this, { frame, marks, area, onStretch, onZoom });
    this.at = -1;
    this.tip = element("div", { class: "chart-tip", hidden: true });
    this.live = element("div", { class: "visually-hidden", role: "status" });
    const { area: box } = frame;
    box.append(this.tip, this.live);
    box.marks = marks; // what is where, for whoever drives the page
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `${frame.title}: arrow keys walk the marks${opens ? ", Enter opens one" : ""}${onStretch ? ", plus and minus zoom, 0 shows all" : ""}`);
    box.addEventListener("pointermove", (event) => this.moved(event));
    box.addEventListener("pointerleave", () => this.point(null));
    box.addEventListener("pointerdown", (event) => this.pressed(event));
    box.addEventListener("pointerup", (event) => this.released(event));
    box.addEventListener("pointercancel", () => this.cancel());
    box.addEventListener("dblclick", () => this.onStretch?.(null, null));
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("blur", () => this.point(null));
    if (onStretch) box.classList.add("can-brush");
  }

  place(event) {
    const box = this.frame.area.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  nearest([x, y]) {
    let found = null;
    let least = REACH * REACH;
    for (const mark of this.marks()) {
      const distance = (mark.x - x) ** 2 + (mark.y - y) ** 2;
      if (distance < least) [found, least] = [mark, distance];
    }
    return found;
  }

  moved(event) {
    const place = this.place(event);
    if (this.start) {
      this.drawBand(place[0]);
      return;
    }
    if (event.pointerType === "touch") return;
    this.point(this.nearest(place));
  }

  pressed(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    if (event.target.closest("button, a, details")) return;
    this.start = this.place(event);
    // What a click means is what lay there when it began: the page may move under a still pointer.
    this.press = { mark: this.nearest(this.start), at: [event.clientX, event.clientY] };
    if (event.pointerType !== "touch") this.frame.area.setPointerCapture(event.pointerId);
  }

  released(event) {
    if (!this.start) return;
    const { start, press } = this;
    const [across, down] = [event.clientX - press.at[0], event.clientY - press.at[1]];
    this.cancel();
    if (this.onStretch && this.area() && event.pointerType !== "touch" && Math.abs(across) > DRAG) {
      this.onStretch(Math.min(start[0], start[0] + across), Math.max(start[0], start[0] + across));
    } else if (Math.hypot(across, down) <= 2 * DRAG) {
      press.mark?.open?.();
    }
  }

  cancel() {
    this.start = null;
    this.band?.remove();
    this.band = null;
  }

  drawBand(x) {
    if (!this.onStretch || Math.abs(x - this.start[0]) <= DRAG) return;
    this.point(null);
    const edges = this.area();
    if (!edges) return;
    const { left, right, top, bottom } = edges;
    const from = Math.max(left, Math.min(x, this.start[0]));
    const to = Math.min(right, Math.max(x, this.start[0]));
    this.band ??= svg("rect", { class: "brush", "data-screen-only": true });
    for (const [name, value] of Object.entries({ x: from, y: top, width: Math.max(0, to - from), height: bottom - top })) {
      this.band.setAttribute(name, value);
    }
    if (!this.band.parentNode) this.frame.svg.append(this.band);
  }

  // Shows which mark is meant; null for none.
  point(mark) {
    this.ring?.remove();
    this.ring = null;
    this.tip.hidden = mark === null;
    this.frame.area.classList.toggle("on-mark", Boolean(mark?.open));
    if (mark === null) return;
    this.ring = svg("circle", { class: "pointed", cx: mark.x, cy: mark.y, r: 9, "data-screen-only": true });
    this.frame.svg.append(this.ring);
    replace(this.tip, mark.label().map((line) => element("div", {}, line)));
    const right = mark.x > this.frame.width / 2;
    this.tip.style.left = right ? "" : `${mark.x + 14}px`;
    this.tip.style.right = right ? `${this.frame.width - mark.x + 14}px` : "";
    this.tip.style.top = `${Math.max(0, mark.y - 20)}px`;
  }

  key(event) {
    if (event.target !== this.frame.area || event.ctrlKey || event.metaKey || event.altKey) return;
    const marks = [...this.marks()].sort((a, b) => a.x - b.x);
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined && marks.length) {
      event.preventDefault();
      const known = marks.findIndex((mark) => mark.number === this.number);
      const from = known < 0 ? (step < 0 ? marks.length : -1) : known;
      const mark = marks[Math.min(marks.length - 1, Math.max(0, from + step))];
      this.number = mark.number;
      this.point(mark);
      setText(this.live, mark.label().join(", "));
    } else if (event.key === "Enter" && this.number !== undefined) {
      event.preventDefault();
      marks.find((mark) => mark.number === this.number)?.open?.();
    } else if (this.onZoom && (event.key === "+" || event.key === "=" || event.key === "-")) {
      event.preventDefault();
      const mark = marks.find((one) => one.number === this.number);
      this.onZoom(event.key === "-" ? 2 : 0.5, mark?.x ?? null);
    } else if (this.onStretch && event.key === "0") {
      event.preventDefault();
      this.onStretch(null, null);
    } else if (event.key === "Escape" && !this.tip.hidden) {
      event.preventDefault();
      this.point(null);
    }
  }
}
