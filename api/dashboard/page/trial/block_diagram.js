// A genome as a picture: the residual stream runs down the left, every sub-layer is a box that
// reads from it and adds back to it. DRAWINGS says how each kind is drawn; a kind that is missing
// there is drawn as unknown, and a test compares the table with the kinds of the genome. The bar at
// the foot of a box is to scale: all bars of a block share one unit, that of the residual stream's.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";

const WIDE = 232;
const COMPACT = 184; // beside another diagram: no glyphs
const STREAM = 11; // x of the residual stream
const BOX = 30; // x of the boxes
const TEXT = BOX + 12;
const TITLE = 15; // height of a box's first line
const LINE = 14; // height of every further line
const PAD = 8;
const GAP = 14;
const TOP = 30;
const SCALE = 6; // room for the bar to scale

// Each kind: its title, and the lines below it. `proxy` has head_dim and experts.
export const DRAWINGS = {
  attention: {
    title: "Attention",
    lines: (layer, { proxy }) => [
      `${layer.heads} head${layer.heads === 1 ? "" : "s"} of ${proxy.head_dim}`,
      ...(layer.conv_width > 0 ? [`convolution of ${layer.conv_width}`] : []),
    ],
    glyph: (layer, place) => heads(layer.heads, place),
    width: (layer, { proxy }) => layer.heads * proxy.head_dim,
  },
  feed_forward: {
    title: "Feed-forward",
    lines: (layer, { modelDim }) => [
      `${layer.hidden_dim} wide, ${ratio(layer.hidden_dim, modelDim)}`,
      format.name(layer.activation) + (layer.rank > 0 ? `, rank ${layer.rank}` : ""),
    ],
    glyph: (layer, place, { modelDim }) => widening(layer.hidden_dim / modelDim, place),
    width: (layer) => layer.hidden_dim,
  },
  moe: {
    title: "Mixture of experts",
    lines: (layer, { proxy, modelDim }) => [
      `${proxy.experts} × ${layer.hidden_dim} wide, ${ratio(layer.hidden_dim, modelDim)}`,
      format.name(layer.activation),
      gating(layer),
    ],
    glyph: (layer, place, { proxy }) => experts(layer, proxy.experts, place),
    width: (layer) => layer.hidden_dim,
  },
};

// Returns an SVG of the block. `proxy` is the search's proxy; `parent` a genome to mark
// differences from, or null; `compact` makes it fit beside another one.
export function blockDiagram(genome, { proxy, parent = null, compact = false, label }) {
  const facts = { proxy, modelDim: genome.model_dim };
  facts.widest = Math.max(genome.model_dim, ...genome.layers.map((layer) => widthOf(layer, facts)));
  const width = compact ? COMPACT : WIDE;
  const changed = parent ? changedLayers(genome.layers, parent.layers) : new Set();
  let y = TOP;
  const parts = [];
  genome.layers.forEach((layer, index) => {
    const lines = linesOf(layer, facts);
    const height = PAD * 2 + TITLE + lines.length * LINE + SCALE;
    parts.push(subLayer(layer, { y, height, lines, width, changed: changed.has(index), facts }));
    y += height + GAP;
  });
  const height = y + 12;
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      class: "block-diagram",
      role: "img",
      "aria-label": `${label}: ${describe(genome, facts)}`,
    },
    svg("path", { class: "stream", d: `M${STREAM} 12V${height - 6}` }),
    svg("path", { class: "tip", d: `M${STREAM - 4} ${height - 9}h8l-4 7z` }),
    svg("text", { class: "note", x: BOX, y: 12 }, `model dim ${genome.model_dim}`),
    svg("rect", { class: "scale-stream", x: BOX, y: 18, height: 3, rx: 1.5, width: (genome.model_dim / facts.widest) * (width - BOX - 14) }),
    ...parts,
    svg("text", { class: "note", x: BOX, y: height - 3 }, proxy.blocks === 1 ? "stacked once" : `stacked ${proxy.blocks} times`),
  );
}

// Returns the block in words, for those who do not see the picture.
export function describe(genome, facts) {
  const layers = genome.layers.map((layer) => {
    const drawing = DRAWINGS[layer.kind];
    return drawing ? `${drawing.title} (${drawing.lines(layer, facts).join(", ")})` : layer.kind;
  });
  return `model dim ${genome.model_dim}; ${layers.join("; ")}`;
}

// Returns the indices of `layers` that are not in a longest common subsequence with `before`.
export function changedLayers(layers, before) {
  const a = layers.map(spell);
  const b = before.map(spell);
  const longest = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i][j] = a[i] === b[j]
        ? longest[i + 1][j + 1] + 1
        : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const changed = new Set();
  let j = 0;
  for (let i = 0; i < a.length; ) {
    if (j < b.length && a[i] === b[j]) {
      i += 1;
      j += 1;
    } else if (j < b.length && longest[i][j + 1] >= longest[i + 1][j]) {
      j += 1;
    } else {
      changed.add(i);
      i += 1;
    }
  }
  return changed;
}

function subLayer(layer, { y, height, lines, width, changed, facts }) {
  const drawing = DRAWINGS[layer.kind];
  const known = drawing !== undefined;
  const into = y + 12;
  const out = y + height - 10;
  return svg(
    "g",
    { class: `layer ${known ? `kind-${layer.kind}` : "unknown"}`, "data-kind": layer.kind },
    svg("path", { class: "branch", d: `M${STREAM} ${into}H${BOX}M${BOX} ${out}H${STREAM + 5}` }),
    svg("path", { class: "arrow", d: `M${BOX - 5} ${into - 3}v6l5-3z` }),
    svg("circle", { class: "add", cx: STREAM, cy: out, r: 5 }),
    svg("path", { class: "plus", d: `M${STREAM - 2.6} ${out}h5.2M${STREAM} ${out - 2.6}v5.2` }),
    svg("rect", { class: "box", x: BOX, y, width: width - BOX - 2, height, rx: 6 }),
    svg("rect", { class: "band", x: BOX, y, width: 4, height, rx: 2 }),
    svg(
      "text",
      { class: "title", x: TEXT, y: y + PAD + 10 },
      known ? drawing.title : `${layer.kind}?`,
    ),
    ...lines.map((text, index) =>
      svg("text", { class: "fact", x: TEXT, y: y + PAD + 10 + (index + 1) * LINE }, text),
    ),
    known && width === WIDE ? drawing.glyph(layer, { right: width - 12, y: y + PAD }, facts) : null,
    known ? svg("rect", { class: "scale", x: TEXT, y: y + height - 9, height: 3, rx: 1.5, width: (widthOf(layer, facts) / facts.widest) * (width - BOX - 26) }) : null,
    changed ? svg("circle", { class: "changed", cx: width - 2, cy: y + 2, r: 4 }) : null,
  );
}

// The width of what a sub-layer computes in, for a bar to scale.
function widthOf(layer, facts) {
  return DRAWINGS[layer.kind]?.width(layer, facts) ?? 0;
}

function linesOf(layer, facts) {
  const drawing = DRAWINGS[layer.kind];
  if (!drawing) return ["this page cannot draw it"];
  const position = layer.norm_position === "post" ? "post-" : "";
  const norm = layer.norm && layer.norm !== "rms_norm" ? format.name(layer.norm) : "norm";
  const usual = !position && norm === "norm";
  return [...drawing.lines(layer, facts), ...(usual ? [] : [`${position}${norm}`])];
}

function ratio(hidden, modelDim) {
  return `${Number((hidden / modelDim).toFixed(1))}×`;
}

function gating(layer) {
  const capacity = layer.capacity_factor ?? 1;
  const held = capacity === 0 ? "dropless" : `capacity ${capacity}`;
  return `${format.name(layer.gating)}, ${held}`;
}

// The glyphs sit in the box's upper right corner, 40 by 14.
function heads(many, { right, y }) {
  const shown = Math.min(many, 10);
  const bars = Array.from({ length: shown }, (_, index) =>
    svg("rect", { x: right - 4 * (shown - index) + 1, y, width: 2.4, height: 12, rx: 1 }),
  );
  return svg("g", { class: "glyph" }, ...bars);
}

function widening(times, { right, y }) {
  const wide = Math.min(40, 6 + times * 6);
  const middle = right - 20;
  const narrow = 6;
  const points = [
    [middle - narrow, y], [middle + narrow, y], [middle + wide / 2, y + 6],
    [middle + narrow, y + 12], [middle - narrow, y + 12], [middle - wide / 2, y + 6],
  ];
  return svg("g", { class: "glyph" }, svg("polygon", { points: points.map(String).join(" ") }));
}

function experts(layer, many, { right, y }) {
  const shown = Math.min(many, 16);
  const columns = 8;
  const active = { top_1: 1, top_2: 2 }[layer.gating] ?? Math.round(layer.capacity_factor ?? 1);
  const dots = Array.from({ length: shown }, (_, index) =>
    svg("rect", {
      class: index < active ? "on" : "off",
      x: right - (columns - (index % columns)) * 5.2 + 1.4,
      y: y + Math.floor(index / columns) * 6.4,
      width: 3.8,
      height: shown > columns ? 5 : 11,
      rx: 1,
    }),
  );
  return svg("g", { class: "glyph" }, ...dots);
}

// Keys in one order and defaults left out: equal sub-layers have one spelling.
const DEFAULTS = { norm: "rms_norm", norm_position: "pre", conv_width: 0, rank: 0 };

function spell(layer) {
  const entries = Object.entries({ capacity_factor: layer.kind === "moe" ? 1 : undefined, ...layer })
    .filter(([key, value]) => value !== undefined && DEFAULTS[key] !== value)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(entries);
}
