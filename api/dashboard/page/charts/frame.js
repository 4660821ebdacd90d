// What every chart has around it: its title, a legend, a menu of downloads, a sentence that says
// what the picture shows, and a drawing that follows the width of its place.

import { element, replace, setText, svg } from "../core/dom.js";
import { csvText, pngBlob, save, svgText } from "./picture.js";

export class Frame {
  // `file` names downloads; `height` is the drawing's, in pixels.
  constructor(box, { title, file, height = 300 }) {
    this.height = height;
    this.painter = null;
    this.message = "";
    this.rows = () => [];
    this.ringed = () => undefined;
    this.legend = element("div", { class: "legend", role: "group" });
    this.svg = svg("svg", { class: "chart-drawing", role: "img" });
    this.area = element("div", { class: "chart-area" }, this.svg);
    this.says = element("p", { class: "chart-message" });
    this.heading = element("h2", {});
    const caption = element("div", { class: "chart-head" }, this.heading, this.menu());
    this.box = element("figure", { class: "chart" }, caption, this.legend, this.area, this.says);
    replace(box, this.box);
    this.rename({ title, file });
    this.width = 0; // until it is laid out: to ask now would have the page laid out just for this
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.area);
  }

  rename({ title, file }) {
    Object.assign(this, { title, file });
    setText(this.heading, title);
    this.legend.setAttribute("aria-label", `${title}: series`);
    this.svg.setAttribute("aria-label", title);
    this.downloads.firstElementChild.setAttribute("aria-label", `Download: ${title}`);
  }

  close() {
    this.observer.disconnect();
  }

  // Draws with `painter({width, height})`, which returns nodes; `rows()` is the data to download,
  // `ringed()` the mark {x, y} of what is selected, if it is there.
  draw(painter, { message, rows, ringed = () => undefined }) {
    Object.assign(this, { painter, message, rows, ringed });
    setText(this.says, message);
    this.svg.setAttribute("aria-label", `${this.title}. ${message}`);
    this.paint();
  }

  // Says instead of a picture why there is none.
  drawNothing(text) {
    this.draw(({ width, height }) => svg("text", { class: "nothing", x: width / 2, y: height / 2, "text-anchor": "middle" }, text), { message: "", rows: () => [] });
  }

  resized() {
    const width = Math.round(this.area.clientWidth);
    if (width === this.width) return;
    this.width = width;
    this.paint();
  }

  paint() {
    if (this.painter === null) return;
    const { width, height } = this;
    this.svg.setAttribute("height", height);
    if (width < 40) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    replace(this.svg, [this.painter({ width, height })]);
    this.circle = null;
    this.ring();
  }

  // Puts the ring where it belongs now: to select a mark is not to draw the picture anew.
  ring() {
    this.circle?.remove();
    const mark = this.ringed();
    this.circle = mark ? svg("circle", { class: "selected", cx: mark.x, cy: mark.y, r: 9 }) : null;
    if (this.circle) this.svg.append(this.circle);
  }

  menu() {
    const item = (label, act) => element("li", {}, element("button", { type: "button", class: "quiet", on: { click: act } }, label));
    const menu = element(
      "details",
      { class: "downloads" },
      element("summary", { title: "Download" }, "↓"),
      element(
        "ul",
        {},
        item("Picture, SVG", () => this.download("svg")),
        item("Picture, PNG", () => this.download("png")),
        item("Data, CSV", () => this.download("csv")),
        item("Data, JSON", () => this.download("json")),
      ),
    );
    menu.addEventListener("focusout", (event) => {
      if (!menu.contains(event.relatedTarget)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      event.preventDefault();
      menu.open = false;
      menu.firstElementChild.focus();
    });
    this.downloads = menu;
    return menu;
  }

  async download(kind) {
    this.downloads.open = false;
    const labels = { title: this.title, message: this.message };
    const name = `${this.file}.${kind}`;
    if (kind === "svg") save(name, svgText(this.svg, labels), "image/svg+xml");
    else if (kind === "png") save(name, await pngBlob(this.svg, labels), "image/png");
    else if (kind === "csv") save(name, csvText(this.rows()), "text/csv;charset=utf-8");
    else save(name, JSON.stringify(this.rows(), null, 1), "application/json");
  }
}
