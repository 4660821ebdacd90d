// Who descends from whom. A click opens a trial; its subtree can be looked at alone.

import { element, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { showEmpty } from "../core/states.js";
import { LineageChart } from "../charts/lineage.js";

export class LineageTab {
  constructor(panel, { app, session, pick }) {
    Object.assign(this, { panel, app, session, pick });
  }

  question() {
    return this.app.state.get("root");
  }

  close() {
    this.chart?.frame.close();
  }

  async read() {
    const root = this.app.state.number("root");
    return { root, data: await this.session.get("/charts/lineage", { root }) };
  }

  show({ root, data }) {
    Object.assign(this, { root, data });
    if (this.data.number.length === 0) {
      showEmpty(this.panel, "No candidate yet. Once there are some, this shows who descends from whom.");
      this.chart = null;
      return;
    }
    if (!this.chart || !this.box.isConnected) {
      this.chart?.frame.close();
      this.box = element("div", {});
      this.bar = element("div", { class: "tab-bar" });
      replace(this.panel, this.bar, this.box);
      this.chart = new LineageChart(this.box, { title: "Lineage", onPick: this.pick });
    }
    this.redraw();
  }

  redraw() {
    if (!this.data || !this.chart) return;
    const { root, data } = this;
    const selected = this.app.state.number("trial");
    const key = `${selected} ${root} ${this.session.whole.overview.seq}`;
    if (this.drawn === key) return;
    this.drawn = key;
    const { state } = this.app;
    const button = (label, changes) => element("button", { type: "button", class: "quiet", on: { click: () => state.set(changes) } }, label);
    replace(
      this.bar,
      element("span", {}, root === null ? "The population with all its ancestors; the line of the best is in bold." : `Descendants of #${root}.`),
      root === null ? null : button("Show the population", { root: "" }),
      selected === null || selected === root ? null : button(`Only the descendants of #${selected}`, { root: String(selected) }),
    );
    const line = data.best.length;
    const message = root === null
      ? `${format.whole(data.number.length)} trials; the best is ${line ? `${line - 1} mutation${line === 2 ? "" : "s"} from its founder #${data.best.at(-1)}` : "not known yet"}.`
      : `${format.whole(data.number.length - 1)} descend from #${root}${data.cut ? "; the first 2,000 are shown" : ""}.`;
    this.chart.draw(data, { selected, message });
  }
}
