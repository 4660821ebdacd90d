"""What candidates are made of as the search goes on: kinds, gating, widths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pydantic_core import from_json

from brainformer.search.charts.columns import Flags, Floats, Integers, TrialColumns, plain
from brainformer.search.charts.pictures import Composition

STRETCHES = 100
LEAST = 8  # candidates a stretch: fewer show chance rather than the search's course


class Ingredients:
    """What every candidate's block is made of, read from its genome once.

    A feature is a pair such as ("kind", "moe"); its column holds how many sub-layers have it, or
    a width.
    """

    def __init__(self) -> None:
        self.known = np.zeros(0, bool)
        self.columns: dict[tuple[str, str], Floats] = {}

    def missing(self, columns: TrialColumns) -> Integers:
        """Returns the ended candidates whose genomes were not read yet."""
        more = columns.size - len(self.known)
        if more > 0:
            self.known = np.append(self.known, np.zeros(more, bool))
            for feature, values in self.columns.items():
                self.columns[feature] = np.append(values, np.zeros(more))
        return np.flatnonzero((columns.whole("rank") >= 0) & ~self.known)

    def take(self, genomes: Iterable[tuple[int, str]]) -> None:
        """Reads genomes, as (trial number, canonical JSON)."""
        for number, text in genomes:
            self.known[number] = True
            for feature, value in features(from_json(text)).items():
                if feature not in self.columns:
                    self.columns[feature] = np.zeros(len(self.known))
                self.columns[feature][number] = value


def features(genome: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Returns how many sub-layers there are by kind and gating, and the widths."""
    found: dict[tuple[str, str], float] = {}
    widths: dict[str, list[float]] = {}
    for layer in genome["layers"]:
        kind = str(layer["kind"])
        found["kind", kind] = found.get(("kind", kind), 0.0) + 1
        if "gating" in layer:
            found["gating", layer["gating"]] = found.get(("gating", layer["gating"]), 0.0) + 1
        if "hidden_dim" in layer:
            widths.setdefault(f"{kind} hidden dim", []).append(layer["hidden_dim"])
        if "heads" in layer:
            widths.setdefault("heads", []).append(layer["heads"])
    for name, values in widths.items():
        found["width", name] = sum(values) / len(values)
    found["width", "model dim"] = genome["model_dim"]
    found["width", "sub-layers"] = len(genome["layers"])
    return found


def composition(columns: TrialColumns, ingredients: Ingredients, shown: Flags) -> Composition:
    """Returns means over at most 100 stretches of candidates in order of completion."""
    rank = columns.whole("rank")
    at = np.flatnonzero(shown & (rank >= 0))
    at = at[np.argsort(rank[at], kind="stable")]  # nearly in order, which a stable sort knows
    many = min(STRETCHES, max(1, len(at) // LEAST), len(at))
    parts = np.array_split(at, many) if many else []
    starts = np.cumsum([0, *(len(part) for part in parts)])[:-1]
    sums, held = {}, {}
    for feature, values in ingredients.columns.items():
        own = values[at]
        sums[feature] = np.add.reduceat(own, starts)
        held[feature] = np.add.reduceat(own != 0, starts, dtype=np.int64)
    return Composition(
        first=[int(rank[part[0]]) for part in parts],
        count=[len(part) for part in parts],
        kinds=_shares(sums, "kind"),
        gatings=_shares(sums, "gating"),
        widths={
            name: plain(_divided(values, held[group, name]), 3)
            for (group, name), values in sorted(sums.items())
            if group == "width"
        },
    )


def _shares(sums: Mapping[tuple[str, str], Floats], group: str) -> dict[str, list[float | None]]:
    own = {name: values for (kind, name), values in sorted(sums.items()) if kind == group}
    total = np.sum(list(own.values()), axis=0) if own else np.zeros(0)
    return {name: plain(_divided(values, total), 4) for name, values in own.items()}


def _divided(values: Floats, by: Floats | Integers) -> Floats:
    found: Floats = np.where(by > 0, values / np.maximum(by, 1e-9), np.nan)
    return found
