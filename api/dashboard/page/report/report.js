// A report: the page's charts over the controller's answers as they were when it was written. They
// lie in the file; nothing is fetched, and nothing can be opened or changed.

import { element, replace } from "../core/dom.js";
import { showError } from "../core/states.js";
import { drawSwitches, group, option } from "../core/switches.js";
import { curvePoints, drawCurves, rivalCurve } from "../charts/curves.js";
import { FitnessChart } from "../charts/fitness.js";
import { Frame } from "../charts/frame.js";
import { StepTimeChart } from "../charts/step_time.js";
import { drawAnswer } from "../search/answer.js";
import { FailuresTab } from "../tabs/failures.js";
import { FidelityTab } from "../tabs/fidelity.js";
import { LineageTab } from "../tabs/lineage.js";
import { MachinesTab } from "../tabs/machines.js";
import { PopulationTab } from "../tabs/population.js";
import { WhatHelpsTab } from "../tabs/what_helps.js";

// A search's session whose answers are kept.
class KeptSession {
  constructor({ search, answers }) {
    Object.assign(this, { search, answers, id: search.id, whole: { overview: answers["/charts/overview"] }, abort: new AbortController() });
  }

  async get(path) {
    const found = this.answers[path];
    if (found === undefined) throw new Error("This is not part of the report.");
    return found;
  }

  stretch() {
    return {};
  }
}

// Nothing leads anywhere in a file.
const STATE = { address: () => null, get: () => "", number: () => null, set: () => {} };

class Report {
  constructor(told) {
    this.readAt = new Date(told.read_at);
    this.session = new KeptSession(told);
    this.answers = told.answers;
    this.app = { state: STATE, api: { get: (path) => this.session.get(path) } };
    this.look = { time: false, log: false, hidden: new Set() };
  }

  draw() {
    this.drawAnswer();
    this.drawCharts();
    this.drawCurve();
    this.tab("report-population", PopulationTab);
    this.tab("report-helps", WhatHelpsTab);
    this.tab("report-lineage", LineageTab);
    this.tab("report-failures", FailuresTab);
    this.tab("report-machines", MachinesTab);
    this.drawCertificates();
  }

  context() {
    return { app: this.app, session: this.session, pick: null };
  }

  async tab(id, Tab) {
    const panel = document.getElementById(id);
    const tab = new Tab(panel, this.context());
    try {
      tab.show(await tab.read());
    } catch (error) {
      showError(panel, error);
    }
  }

  drawAnswer() {
    drawAnswer(document.getElementById("report-answer"), {
      search: this.session.search, best: this.answers["/best"], waiting: false, rival: this.answers["/rival"],
      overview: this.answers["/charts/overview"], failures: this.answers["/charts/failures"], now: this.readAt, address: STATE.address,
    });
  }

  drawCharts() {
    this.fitness = new FitnessChart(document.getElementById("report-fitness"), { hide: (keys) => this.change({ hidden: new Set(keys) }) });
    this.step = new StepTimeChart(document.getElementById("report-step"), {});
    this.switches = document.getElementById("report-switches");
    this.change({});
  }

  // Shows both charts in another way.
  change(changes) {
    Object.assign(this.look, changes);
    const view = { ...this.look, data: this.answers["/charts/overview"], front: this.answers["/charts/front"], best: this.answers["/best"] };
    this.fitness.draw(view);
    this.step.draw(view);
    const button = (label, field, value) => option({ label, key: label, pressed: this.look[field] === value, act: () => this.change({ [field]: value }) });
    drawSwitches(
      this.switches,
      group("Across", button("trials", "time", false), button("time", "time", true)),
      group("Scale", button("linear", "log", false), button("log below the best", "log", true)),
    );
  }

  drawCurve() {
    const [best, rival] = [this.answers["/best-run"], this.answers["/rival"]];
    const box = document.getElementById("report-curve");
    if (!best) {
      replace(box, element("p", { class: "state state-empty" }, "No candidate has completed."));
      return;
    }
    const frame = new Frame(box, { title: "Learning curve of the best", file: "curve", height: 240 });
    drawCurves(frame, [
      ...(rival ? [rivalCurve(rival)] : []),
      { label: `#${best.number}`, points: curvePoints(best.measurements.curve), style: "own" },
    ]);
  }

  drawCertificates() {
    const { items } = this.answers["/certificates"];
    const box = document.getElementById("report-certificates");
    if (!box) return;
    const tab = new FidelityTab(box, this.context());
    replace(box, tab.certificates(items));
    if (items[0]?.result.losses.length) tab.scatter(items[0]);
  }
}

const told = JSON.parse(document.getElementById("report-data").textContent);
document.documentElement.classList.add("scripted");
new Report(told).draw();
