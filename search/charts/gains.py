"""By how much children beat their parents, by kind of mutation and by gene."""

from __future__ import annotations

import numpy as np

from brainformer.search.charts.columns import (
    NOBODY,
    PRUNED,
    Flags,
    Floats,
    Integers,
    TrialColumns,
)
from brainformer.search.charts.mutation_words import change_told
from brainformer.search.charts.pictures import Gain, Gains
from brainformer.search.estimates.comparison import FEWEST_RUNS, interval_around


def gains(columns: TrialColumns, shown: Flags) -> Gains:
    """Returns the gains of children over parents, most pairs first.

    A pair counts if both completed and on the same pool: across pools a gain would tell of the
    machines. A parent was chosen for coming out well, so the mean of no real effect is below zero.

    Args:
        columns: Of the search.
        shown: Which children count.
    """
    parent, pool = columns.whole("parent"), columns.whole("pool")
    child = np.flatnonzero(shown & (parent != NOBODY) & (columns.whole("mutation") != NOBODY))
    child = child[parent[child] < columns.size]
    fitness = columns.figure("fitness")
    told = [change_told(phrase) for phrase in columns.mutations.known]
    codes = columns.whole("mutation")[child]
    above = parent[child]
    comparable = pool[child] == pool[above]
    gain = np.where(comparable, fitness[child] - fitness[above], np.nan)
    lost = columns.whole("status")[child] == PRUNED
    return Gains(
        operators=_groups([(name, "") for name, _ in told], codes, gain, lost),
        genes=_groups(told, codes, gain, lost),
    )


def _groups(names: list[tuple[str, str]], codes: Integers, gain: Floats, lost: Flags) -> list[Gain]:
    if not len(codes):
        return []
    distinct = sorted(set(names))
    place = {name: index for index, name in enumerate(distinct)}
    group = np.asarray([place[name] for name in names], np.uint16)[codes]
    order = np.argsort(group, kind="stable")  # of 16 bits: by radix
    starts = np.searchsorted(group[order], np.arange(len(distinct) + 1))
    found = []
    for (operator, gene), first, last in zip(distinct, starts, starts[1:], strict=False):
        inside = order[first:last]
        values = gain[inside]
        values = values[np.isfinite(values)]
        if not inside.size:
            continue
        low, high = _interval(values)
        found.append(
            Gain(
                operator=operator,
                gene=gene,
                pairs=len(values),
                better=int((values > 0).sum()),
                lost=int(lost[inside].sum()),
                mean=float(values.mean()) if len(values) else None,
                low=low,
                high=high,
            )
        )
    return sorted(found, key=lambda one: (-one.pairs, one.operator, one.gene))


def _interval(values: Floats) -> tuple[float | None, float | None]:
    if len(values) < FEWEST_RUNS:
        return None, None
    return interval_around(float(values.mean()), float(values.std(ddof=1)), len(values))
