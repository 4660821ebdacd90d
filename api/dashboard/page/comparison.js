// The baseline beside the best and the selected trial: what was measured, and by how much it is
// better or worse.

import { element, replace } from "./dom.js";
import * as format from "./format.js";

// Each row: its label, its unit, how to read it and whether less is better.
const ROWS = [
  {
    label: "Validation loss",
    unit: "nats a token",
    of: (m) => m.validation_loss,
    show: (v) => format.fixed(v, 4),
    less: true,
  },
  {
    label: "Bits per byte",
    of: (m) => m.bits_per_byte,
    show: (v) => format.fixed(v, 4),
    less: true,
  },
  { label: "Step time", of: (m) => m.step_time_ms, show: format.milliseconds, less: true },
  { label: "Steps done", of: (m) => m.steps, show: format.whole, neutral: true },
  { label: "Parameters", of: (m) => m.parameters, show: format.count, neutral: true },
  {
    label: "Activated",
    of: (m) => m.activated_parameters,
    show: format.count,
    neutral: true,
  },
];

// Draws into `table`. `baseline`: {name, measurements}; `columns`: [{name, href, measurements}].
export function drawComparison(table, baseline, columns) {
  const head = element(
    "tr",
    {},
    element("td", {}),
    element("th", { scope: "col", class: "numeric" }, baseline.name),
    columns.map((column) =>
      element("th", { scope: "col", class: "numeric" }, element("a", { href: column.href }, column.name)),
    ),
  );
  const rows = ROWS.map((row) => {
    const reference = row.of(baseline.measurements) ?? null;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, row.label, row.unit ? element("small", {}, row.unit) : null),
      element("td", { class: "numeric" }, row.show(reference)),
      columns.map((column) => {
        const value = row.of(column.measurements) ?? null;
        return element("td", { class: "numeric" }, row.show(value), delta(row, value, reference));
      }),
    );
  });
  replace(table, element("thead", {}, head), element("tbody", {}, rows));
}

function delta(row, value, reference) {
  if (value === null || reference === null || reference === 0) return null;
  const change = value / reference - 1;
  if (Math.abs(change) < 0.0005) return element("small", { class: "delta" }, "equal");
  const sign = change > 0 ? "+" : "";
  const text = `${sign}${format.percent(change, Math.abs(change) < 0.1 ? 1 : 0)}`;
  if (row.neutral) return element("small", { class: "delta" }, text);
  const better = row.less === change < 0;
  return element(
    "small",
    { class: `delta ${better ? "better" : "worse"}` },
    text,
    element("span", { class: "visually-hidden" }, better ? ", better" : ", worse"),
  );
}
