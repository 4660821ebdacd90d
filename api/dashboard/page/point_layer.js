// The points of the fitness plot, on a canvas above Plotly's axes. Ten thousand marks are one
// path a series and draw in milliseconds, where as many SVG nodes take seconds; and Plotly's own
// WebGL marks compile code at run time, which the page's security policy forbids.
// The layer also finds the point under the pointer, shows its facts and reports a click.

import { element, replace } from "./dom.js";
import { LANES, SERIES } from "./series.js";
import { cssColor } from "./theme_toggle.js";

const REACH = 12; // pixels from the pointer to a point
const MANY = 3000; // above this, marks shrink
const CLICK = 4; // pixels that a click may wander

export class PointLayer {
  // `box` is Plotly's element; `facts(row)` gives the lines of the hover text.
  constructor(box, { facts, onSelect }) {
    this.box = box;
    this.facts = facts;
    this.onSelect = onSelect;
    this.canvas = element("canvas", { class: "points", "aria-hidden": "true" });
    this.tip = element("div", { class: "plot-tip", "aria-hidden": "true", hidden: true });
    this.points = [];
    this.pressed = null;
    box.addEventListener("pointermove", (event) => this.hover(event));
    box.addEventListener("pointerleave", () => this.unhover());
    box.addEventListener("pointerdown", (event) => this.press(event), { capture: true });
    addEventListener("pointerup", (event) => this.release(event), { capture: true });
  }

  // Takes `groups`, [{key, points: [{row, x, y}]}] in drawing order, and `rings` around points.
  show(groups, rings) {
    this.groups = groups;
    this.rings = rings;
    this.box.points = groups; // to be looked at from outside
    this.redraw();
  }

  // Draws everything anew for the axes' present ranges.
  redraw() {
    const axes = this.axes();
    if (!axes || !this.groups) return;
    if (!this.canvas.isConnected) {
      this.box.append(this.canvas, this.tip);
    }
    const { width, height } = this.box.getBoundingClientRect();
    const scale = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    const many = this.groups.reduce((sum, group) => sum + group.points.length, 0) > MANY;
    this.points = [];
    for (const { key, points } of this.groups) this.drawSeries(context, axes, key, points, many);
    for (const ring of this.rings) this.drawRing(context, axes, ring);
  }

  drawSeries(context, axes, key, points, many) {
    const series = SERIES[key];
    const size = (series.size / 2) * (many ? 0.65 : 1);
    const path = new Path2D();
    for (const point of points) {
      const at = place(axes, series, point);
      if (!at) continue;
      MARKS[series.symbol](path, at.x, at.y, size);
      this.points.push({ ...at, row: point.row });
    }
    const color = cssColor(series.color);
    context.lineWidth = 1.5;
    context.globalAlpha = many ? 0.75 : 0.95;
    if (OPEN.has(series.symbol)) {
      context.strokeStyle = color;
      context.stroke(path);
    } else {
      context.fillStyle = color;
      context.fill(path);
    }
    context.globalAlpha = 1;
  }

  drawRing(context, axes, { key, point, radius, color, width }) {
    const at = place(axes, SERIES[key], point);
    if (!at) return;
    context.beginPath();
    context.arc(at.x, at.y, radius, 0, 2 * Math.PI);
    context.lineWidth = width;
    context.strokeStyle = cssColor(color);
    context.stroke();
  }

  axes() {
    const full = this.box._fullLayout;
    if (!full?.xaxis?._length) return null;
    return { x: full.xaxis, fitness: full.yaxis, lanes: full.yaxis2 };
  }

  nearest(event) {
    const area = this.box.getBoundingClientRect();
    const [x, y] = [event.clientX - area.left, event.clientY - area.top];
    let best = null;
    let least = REACH ** 2;
    for (const point of this.points) {
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  }

  hover(event) {
    const found = event.buttons === 0 ? this.nearest(event) : null;
    this.box.classList.toggle("on-point", found !== null);
    this.tip.hidden = found === null;
    if (found === null) return;
    replace(this.tip, this.facts(found.row).map((line) => element("div", {}, line)));
    const room = this.box.clientWidth;
    const left = found.x > room / 2 ? found.x - this.tip.offsetWidth - 12 : found.x + 12;
    this.tip.style.left = `${Math.max(0, Math.min(left, room - this.tip.offsetWidth))}px`;
    this.tip.style.top = `${Math.max(0, found.y - this.tip.offsetHeight / 2)}px`;
  }

  unhover() {
    this.tip.hidden = true;
    this.box.classList.remove("on-point");
  }

  press(event) {
    const point = event.button === 0 ? this.nearest(event) : null;
    this.pressed = point && { point, x: event.clientX, y: event.clientY };
  }

  // Plotly swallows clicks for its own dragging, so a click is told from a drag here.
  release(event) {
    const { pressed } = this;
    this.pressed = null;
    if (!pressed) return;
    const moved = Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y);
    if (moved <= CLICK) this.onSelect(pressed.point.row.number);
  }
}

// Returns where a point lies in pixels, or null outside the visible ranges.
function place(axes, series, { x, y }) {
  const vertical = series.lane ? axes.lanes : axes.fitness;
  const value = series.lane ? LANES.indexOf(series.lane) : y;
  if (value === null) return null;
  const across = share(axes.x.range, x);
  const up = share(vertical.range, value);
  if (!(across >= 0 && across <= 1 && up >= 0 && up <= 1)) return null;
  return {
    x: axes.x._offset + across * axes.x._length,
    y: vertical._offset + (1 - up) * vertical._length,
  };
}

function share([low, high], value) {
  return (value - low) / (high - low);
}

const OPEN = new Set(["circle-open", "square-open", "star-open", "cross"]);

// How each symbol is added to a path, around (x, y) with half-width r.
const MARKS = {
  circle: (path, x, y, r) => {
    path.moveTo(x + r, y);
    path.arc(x, y, r, 0, 2 * Math.PI);
  },
  "circle-open": (path, x, y, r) => MARKS.circle(path, x, y, r),
  "square-open": (path, x, y, r) => path.rect(x - r, y - r, 2 * r, 2 * r),
  "star-open": (path, x, y, r) => {
    polygon(path, x, y, [[0, -r], [r * 0.87, r / 2], [-r * 0.87, r / 2]]);
    polygon(path, x, y, [[0, r], [r * 0.87, -r / 2], [-r * 0.87, -r / 2]]);
  },
  diamond: (path, x, y, r) => polygon(path, x, y, [[0, -r], [r, 0], [0, r], [-r, 0]].map(grown)),
  "triangle-down": (path, x, y, r) => polygon(path, x, y, [[-r, -r * 0.8], [r, -r * 0.8], [0, r]]),
  cross: (path, x, y, r) => {
    path.moveTo(x - r, y - r);
    path.lineTo(x + r, y + r);
    path.moveTo(x + r, y - r);
    path.lineTo(x - r, y + r);
  },
};

function grown([x, y]) {
  return [x * 1.25, y * 1.25];
}

function polygon(path, x, y, corners) {
  corners.forEach(([dx, dy], index) => path[index ? "lineTo" : "moveTo"](x + dx, y + dy));
  path.closePath();
}
