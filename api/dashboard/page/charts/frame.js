// What every chart has around it: its title, a legend, a menu of downloads, a sentence that says
// what the picture shows, and a drawing that follows the width of its place.

import { element, replace, setText, svg } from "../core/dom.js";
import { csvText, pngBlob, save, svgText } from "./picture.js";

export class Frame {
  // `file` names downloads; `height` is the drawing's, in pixels.
  constructor(box, { title, file, height = 300 }) {
    this.title = title;
    this.file = file;
    this.height = height;
    this.painter = null;
    this.message = "";
    this.rows = () => [];
    this.legend = element("div", { class: "legend", role: "group", "aria-label": `${title}: series` });
    this.svg = svg("svg", { class: "chart-drawing", role: "img", "aria-label": title });
    this.area = element("div", { class: "chart-area" }, this.svg);
    this.says = element("p", { class: "chart-message" });
    const caption = element("div", { class: "chart-head" }, element("h2", {}, title), this.menu());
    this.box = element("figure", { class: "chart" }, caption, this.legend, this.area, this.says);
    replace(box, this.box);
    this.width = 0;
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.area);
  }

  close() {
    this.observer.disconnect();
  }

  // Draws with `painter({width, height})`, which returns nodes; `rows()` is the data to download.
  draw(painter, { message, rows }) {
    this.painter = painter;
    this.rows = rows;
    this.message = message;
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
    this.width ||= Math.round(this.area.clientWidth);
    if (this.width < 40) return;
    const { width, height } = this;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    replace(this.svg, [this.painter({ width, height })]);
  }

  menu() {
    const item = (label, act) => element("li", {}, element("button", { type: "button", class: "quiet", on: { click: act } }, label));
    const menu = element(
      "details",
      { class: "downloads" },
      element("summary", { "aria-label": `Download: ${this.title}`, title: "Download" }, "↓"),
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
