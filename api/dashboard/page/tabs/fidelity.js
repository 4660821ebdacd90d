// How far the proxy can be trusted, and how the best blocks do at a larger scale: the certificate's
// table and scatter, promotions when there are any, and what a larger block would look like.

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

  async read() {
    const { session } = this;
    const quiet = (path) => session.get(path).catch((error) => ({ error }));
    const [certificates, soundness, promoted] = await Promise.all([
      session.get("/certificates"), session.get("/soundness"), quiet("/promotions"),
    ]);
    this.frame?.close();
    this.frame = null;
    const notes = soundness.notes.length
      ? element("ul", { class: "notes" }, soundness.notes.map((note) => element("li", {}, note)))
      : element("p", { class: "muted" }, "Nothing in the search's figures speaks against its proxy or its space.");
    replace(
      this.panel,
      element("h2", {}, "What to mind"), notes,
      element("h2", {}, "Certificate of the proxy"), this.certificates(certificates.items),
      element("h2", {}, "Promotion"), this.promotions(promoted),
    );
    const [newest] = certificates.items;
    if (newest?.result.losses.length) this.scatter(newest);
  }

  certificates(items) {
    if (items.length === 0) {
      return element("div", { class: "state state-empty" }, element("p", {}, "No certificate yet. It measures how well ranks under this short budget agree with ranks under a longer one:"), element("pre", {}, element("code", {}, `brainformer search certify ${this.session.id}`)));
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

  // Promotions that are run are studies; a plan alone is a list of blocks that nothing was trained of.
  promotions(answer) {
    if (answer.error) return element("p", { class: "muted" }, answer.error.status === 404 ? "No candidate has completed yet." : answer.error.message);
    const studies = answer.items.filter((one) => one.study);
    const plans = answer.items.filter((one) => !one.study);
    return element(
      "div", {},
      studies.map((one) => this.study(one)),
      plans.length ? [element("p", { class: "tab-note" }, `What the baseline and the best would be at ${format.count(answer.target_parameters)} activated parameters. Nothing of it has been trained.`), planTable(plans)] : null,
      studies.length + plans.length === 0 ? element("p", { class: "muted" }, "No block of this search has been run at a larger scale yet.") : null,
    );
  }

  study({ study, result }) {
    const lists = Object.entries(result ?? {}).filter(([, value]) => Array.isArray(value) && value.length && typeof value[0] === "object" && !Array.isArray(value[0]));
    const progress = result?.planned ? `, ${format.whole(result.finished)} of ${format.whole(result.planned)} runs` : "";
    return element("section", { class: "certificate" },
      element("p", {}, element("a", { class: "linked", href: this.app.state.address({ search: study.id, tab: "", trial: "" }) }, study.name), `: ${format.name(study.status)}${progress}.`),
      lists.map(([, rows]) => recordTable(rows)));
  }
}

function planTable(plans) {
  return table(
    ["Block", "Model dim", "Stacked", "Parameters", "Activated", "Memory", "Obstacle"],
    plans.map((one) => [
      one.trial_number === null ? "baseline" : `#${one.trial_number}`, one.genome?.model_dim ?? format.NONE, one.proxy?.blocks ?? format.NONE,
      format.count(one.parameters), format.count(one.activated_parameters), format.bytes(one.memory_bytes), one.reason || "none",
    ]),
  );
}

// Returns records as a table: what is plain in them, a column each.
function recordTable(rows) {
  const names = Object.keys(rows[0]).filter((name) => rows.every((row) => row[name] === null || typeof row[name] !== "object"));
  const show = (value) => (value === null || value === undefined ? format.NONE : typeof value === "number" && !Number.isInteger(value) ? format.fixed(value, 4) : typeof value === "boolean" ? (value ? "yes" : "no") : String(value));
  return table(names.map(format.name), rows.map((row) => names.map((name) => show(row[name]))));
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
