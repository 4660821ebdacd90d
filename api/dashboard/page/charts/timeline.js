// What every worker did, as bars over time; colours tell how attempts ended.

import { svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { axes } from "./axes.js";
import { opening } from "./pointer.js";
import { linear } from "./scale.js";

const ROW = 20;
const MOST_WORKERS = 40;
const LOOKS = { completed: "done", pruned: "pruned", "": "running" };

// Returns {workers, from, to, busy}: who is shown, over which time, and their busy shares.
export function workersOf(spans) {
  const by = new Map();
  spans.worker.forEach((worker, i) => {
    if (!by.has(worker)) by.set(worker, { worker, pool: spans.pool[i], spans: [] });
    by.get(worker).spans.push({ number: spans.number[i], outcome: spans.outcome[i] ?? "", from: spans.started[i], to: spans.finished[i] ?? spans.now });
  });
  const workers = [...by.values()].sort((a, b) => (a.pool + a.worker < b.pool + b.worker ? -1 : 1));
  const latest = Math.max(...spans.finished.map((at) => at ?? spans.now), 0);
  const earliest = Math.min(...spans.started, latest);
  const from = Math.max(earliest, latest - 6 * 3600);
  for (const one of workers) {
    const held = one.spans.reduce((sum, span) => sum + Math.max(0, span.to - Math.max(from, span.from)), 0);
    one.busy = Math.min(1, held / Math.max(1, latest - Math.max(from, Math.min(...one.spans.map((span) => span.from)))));
  }
  return { workers, from, to: latest };
}

// Shortens a name in its middle: workers of one kind share a beginning or an end.
function inTheMiddle(name, most) {
  if (name.length <= most) return name;
  const half = Math.floor((most - 1) / 2);
  return `${name.slice(0, half)}…${name.slice(-half)}`;
}

export function drawTimeline(frame, pointerMarks, { workers, from, to }, onPick) {
  const shown = workers.slice(0, MOST_WORKERS);
  frame.height = shown.length * ROW + 50;
  frame.draw(({ width, height }) => {
    const narrow = width < 560;
    const area = { left: narrow ? 96 : 190, right: width - 52, top: 8, bottom: height - 30 };
    const x = linear([from, Math.max(to, from + 1)], [area.left, area.right]);
    const nodes = axes({ area, x, y: Object.assign(linear([0, 1], [0, 1]), { ticks: () => [] }), time: true });
    pointerMarks.length = 0;
    shown.forEach((one, row) => {
      const y = area.top + row * ROW;
      const name = inTheMiddle(one.worker, narrow ? 13 : 27);
      nodes.push(svg("text", { class: "row-label", x: area.left - 8, y: y + 14, "text-anchor": "end" }, name));
      nodes.push(svg("text", { class: "tick", x: width - 6, y: y + 14, "text-anchor": "end" }, format.percent(one.busy)));
      const paths = {};
      for (const span of one.spans) {
        if (span.to < from) continue;
        const look = LOOKS[span.outcome] ?? "failed";
        const [left, right] = [x(Math.max(from, span.from)), x(span.to)];
        paths[look] = `${paths[look] ?? ""}M${left.toFixed(1)} ${y + 4}h${Math.max(1, right - left - 0.6).toFixed(1)}v${ROW - 8}H${left.toFixed(1)}z`;
        pointerMarks.push({
          x: (left + right) / 2, y: y + ROW / 2, number: span.number,
          label: () => [`#${span.number} on ${one.worker}`, `${span.outcome ? format.name(span.outcome) : "running"}, ${format.duration(span.to - span.from)}`], open: opening(onPick, span.number),
        });
      }
      for (const [look, d] of Object.entries(paths)) nodes.push(svg("path", { class: `span span-${look}`, d }));
    });
    return nodes;
  }, {
    message: `${workers.length} worker${workers.length === 1 ? "" : "s"}${workers.length > MOST_WORKERS ? `, ${MOST_WORKERS} shown` : ""}; the share of time that each was busy is at the right.`,
    rows: () => workers.flatMap((one) => one.spans.map((span) => ({ worker: one.worker, pool: one.pool, ...span }))),
  });
}
