// A chart as a file: the picture composed whole (title, legend, colours of the present theme) as
// SVG or PNG, and its data as CSV or JSON.

import { element, svg } from "../core/dom.js";

const STYLES = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "stroke-linejoin",
  "stroke-linecap", "opacity", "font-family", "font-size", "font-weight", "text-anchor",
];
const HEAD = 46;
const PAD = 14;

// Returns a stand-alone copy of `source`, every style written on its elements.
export function composed(source, { title, message }) {
  const { width, height } = source.viewBox.baseVal;
  const copy = source.cloneNode(true);
  const from = [source, ...source.querySelectorAll("*")];
  const to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((node, index) => {
    const style = getComputedStyle(node);
    for (const name of STYLES) to[index].setAttribute(name, style.getPropertyValue(name));
    to[index].removeAttribute("class");
  });
  for (const node of copy.querySelectorAll("[data-screen-only]")) node.remove();
  const page = getComputedStyle(document.body);
  const paper = getComputedStyle(source.closest(".chart")).backgroundColor;
  const text = (y, size, weight, words) =>
    svg("text", { x: PAD, y, "font-size": size, "font-weight": weight, "font-family": page.fontFamily, fill: page.color }, words);
  const [whole, tall] = [width + 2 * PAD, height + HEAD + PAD];
  copy.setAttribute("x", PAD);
  copy.setAttribute("y", HEAD);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  return svg(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${whole} ${tall}`, width: whole, height: tall },
    svg("rect", { width: whole, height: tall, fill: paper }),
    text(22, 15, 600, title),
    text(39, 11.5, 400, message),
    copy,
  );
}

export function svgText(source, labels) {
  return new XMLSerializer().serializeToString(composed(source, labels));
}

export async function pngBlob(source, labels, scale = 2) {
  const picture = composed(source, labels);
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(picture)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = element("canvas", {});
    canvas.width = image.width * scale;
    canvas.height = image.height * scale;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.drawImage(image, 0, 0);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

// Returns rows ({name: value}) as CSV (RFC 4180). Text that a spreadsheet would take for a formula
// is marked as text.
export function csvText(rows) {
  const names = Object.keys(rows[0] ?? {});
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const text = /^[=+\-@\t\r]/.test(String(value)) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((row) => row.map(cell).join(",")).join("\r\n");
}

export function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
