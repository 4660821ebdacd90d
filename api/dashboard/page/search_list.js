// The list of searches at the side: name, status, progress and the best fitness of each.

import { element, replace } from "./dom.js";
import * as format from "./format.js";

// Draws the searches into `list`; links keep the rest of the address clean.
export function drawSearchList(list, searches, { selected, address }) {
  const focused = document.activeElement?.dataset?.search;
  replace(
    list,
    searches.map((search) => item(search, search.id === selected, address)),
  );
  if (focused) list.querySelector(`[data-search="${focused}"]`)?.focus();
}

function item(search, current, address) {
  const { trials } = search.spec.limits;
  const done = search.candidates_finished;
  const progress = trials ? `${format.whole(done)} of ${format.whole(trials)}` : format.whole(done);
  return element(
    "li",
    {},
    element(
      "a",
      {
        href: address(search.id),
        "data-search": search.id,
        "aria-current": current ? "page" : null,
        class: `search-item status-${search.status}`,
      },
      element("span", { class: "dot", "aria-hidden": "true" }),
      element("span", { class: "name" }, search.name),
      element("span", { class: "best" }, search.best_fitness === null ? "" : format.fitness(search.best_fitness)),
      element("span", { class: "detail" }, `${format.name(search.status)} · ${progress}`),
    ),
  );
}
