// How far the proxy can be trusted, and how the best blocks do at a larger scale: the certificate's
// table and scatter, and Table 3 of every promotion.

import { element, replace, svg } from "../core/dom.js";
import * as format from "../core/format.js";
import { axes } from "../charts/axes.js";
import { Frame } from "../charts/frame.js";
import { linear } from "../charts/scale.js";

export class FidelityTab {
  constructor(panel, { app, session }) {
    Object.assign(this, { panel, app, session, refreshMs: 15_000 });
  }

  close() {
    this.frame?.close();
  }

  read() {
    const { session } = this;
    const quiet = (path) => session.get(path).catch((error) => ({ error }));
    return Promise.all([session.get("/certificates"), session.get("/soundness"), quiet("/promotions")]);
  }

  show([certificates, soundness, promoted]) {
    this.frame?.close();
    this.frame = null;
    const notes = soundness.notes.length
      ? element("ul", { class: "notes" }, soundness.notes.map((note) => element("li", {}, note)))
      : element("p", { class: "muted" }, "Nothing in the figures casts doubt on the proxy or the space.");
    replace(
      this.panel,
      element("h2", {}, "Caveats"), notes,
      element("h2", {}, "Certificate of the proxy"), this.certificates(certificates.items),
      element("h2", {}, "Promotion"), this.promotions(promoted),
    );
    const [newest] = certificates.items;
    if (newest?.result.losses.length) this.scatter(newest);
  }

  certificates(items) {
    if (items.length === 0) {
      return element("div", { class: "state state-empty" }, element("p", {}, "No certificate yet. It measures how well ranks under this short budget agree with ranks under a longer one:"), element("pre", {}, element("code", {}, `brainformer certify ${this.session.id}`)));
    }
    return element("div", {}, items.slice(0, 3).map((one, index) => this.certificate(one, index === 0)));
  }

  certificate(one, newest) {
    const { result, study } = one;
    const enough = result.sufficient_budget === null ? "no budget tried was enough" : `${format.fixed(result.sufficient_budget, 2)}× the proxy's budget is enough`;
    const state = study.status === "completed" ? enough : `${format.name(study.status)}, ${format.whole(result.finished)} of ${format.whole(result.planned)} runs`;
    return element(
      "section", { class: "certificate" },
      element("p", {}, element("strong", {}, one.pool), `: ${state}.`),
      result.rows.length ? fidelityTable(result.rows) : null,
      newest ? (this.scatterBox = element("div", { class: "scatter" })) : null,
    );
  }

  // Loss at the shortest budget against loss at the longest, one mark a block.
  scatter({ result }) {
    const meanOf = (repeats) => {
      const known = repeats.filter((value) => value !== null);
      return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
    };
    const blocks = result.losses.map((budgets, i) => ({ block: i, short: meanOf(budgets[0].at(-1) ?? []), long: meanOf(budgets.at(-1).at(-1) ?? []), rival: i === result.losses.length - 1 })).filter((one) => one.short !== null && one.long !== null);
    if (blocks.length < 2) return;
    this.frame = new Frame(this.scatterBox, { title: "Loss under the shortest and the longest budget", file: "certificate", height: 300 });
    this.frame.draw(({ width, height }) => {
      const area = { left: 56, right: Math.min(width - 14, 620), top: 12, bottom: height - 40 };
      const pad = (values) => { const [a, b] = [Math.min(...values), Math.max(...values)]; const s = (b - a || 0.01) * 0.08; return [a - s, b + s]; };
      const x = linear(pad(blocks.map((one) => one.short)), [area.left, area.right]);
      const y = linear(pad(blocks.map((one) => one.long)), [area.bottom, area.top]);
      return [
        ...axes({ area, x, y }),
        svg("text", { class: "axis-label", x: area.right, y: height - 4, "text-anchor": "end" }, "loss, shortest budget (up: longest)"),
        ...blocks.map((one) => svg("circle", { class: one.rival ? "scatter-rival" : "scatter-mark", cx: x(one.short), cy: y(one.long), r: 5 })),
      ];
    }, { message: `${blocks.length} blocks; the open mark is the rival. The closer to one rising line, the better the short budget ranks.`, rows: () => blocks });
  }

  // Promotions are studies: the paper's Table 3 for this search, point by point.
  promotions(answer) {
    if (answer.error) return element("p", { class: "muted" }, answer.error.message);
    if (answer.items.length === 0) {
      return element("div", { class: "state state-empty" }, element("p", {}, "No block of this search has been run at a larger scale yet. To train the best ones and the rival there, with the same seeds:"), element("pre", {}, element("code", {}, `brainformer promote ${this.session.id} --top 3 --scales 1x,2x --budget 2h`)));
    }
    return element("div", {}, answer.items.map((one) => this.promotion(one)));
  }

  promotion({ study, result }) {
    const progress = study.status === "completed" ? "" : `, ${format.whole(result.finished)} of about ${format.whole(result.planned)} runs`;
    const claims = result.claims.map((one) => element("li", {}, `Trial #${one.trial}: ${format.name(one.verdict)}.`));
    return element("section", { class: "certificate" },
      element("p", {}, element("a", { class: "linked", href: this.app.state.address({ search: study.id, tab: "", trial: "" }) }, study.name), `: ${format.name(study.status)}${progress}.`),
      claims.length ? element("ul", { class: "changes" }, claims) : null,
      result.points.map((point) => [element("h3", {}, `${point.label}, ${format.duration(point.budget_seconds)} a run`), promotedTable(point.rows), point.notes.map((note) => element("p", { class: "tab-note" }, note))]));
  }
}

function promotedTable(rows) {
  const interval = (value, ends) => (value === null ? format.NONE : ends === null ? format.fixed(value, 3) : `${format.fixed(value, 3)} (${format.fixed(ends[0], 3)} to ${format.fixed(ends[1], 3)})`);
  const speedup = (one) => {
    if (!one) return format.NONE;
    if (one.value !== null && one.low !== null && one.high !== null) return interval(one.value, [one.low, one.high]);
    if (one.low !== null) return `above ${format.fixed(one.low, 3)}`;
    return one.high === null ? format.NONE : `below ${format.fixed(one.high, 3)}`;
  };
  return table(
    ["Block", "Shape", "Parameters", "Activated", "Runs", "Loss, nats", "Gain on the rival", "Effective speedup"],
    rows.map((row) => [
      row.trial === null ? "rival" : `#${row.trial}`, row.shape, format.count(row.parameters), format.count(row.activated_parameters),
      row.diverged ? `${row.runs}, ${row.diverged} diverged` : row.runs, interval(row.loss, row.loss_interval), interval(row.gain, row.gain_interval), speedup(row.speedup),
    ]),
  );
}

function fidelityTable(rows) {
  const interval = (one) => (one === null || one === undefined ? format.NONE : Array.isArray(one) ? `${format.fixed(one[0], 2)} (${format.fixed(one[1], 2)} to ${format.fixed(one[2], 2)})` : `${format.fixed(one.value ?? one.estimate, 2)} (${format.fixed(one.low, 2)} to ${format.fixed(one.high, 2)})`);
  return table(
    ["Budget", "Ranked for", "Blocks", "Kendall's tau", "Among the top", "Regret, nats", "Enough"],
    rows.map((row) => [`${format.fixed(row.budget, 2)}×`, `${format.fixed(row.target_budget, 2)}×${row.target_scale === 1 ? "" : ` at ${format.fixed(row.target_scale, 1)}× the width`}`, row.blocks, interval(row.tau), interval(row.tau_top), interval(row.regret), row.sufficient ? "yes" : "no"]),
  );
}

function table(head, rows) {
  return element(
    "div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": head.join(", ") },
    element("table", { class: "plain" },
      element("thead", {}, element("tr", {}, head.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, rows.map((row) => element("tr", {}, row.map((cell) => element("td", {}, String(cell))))))),
  );
}
