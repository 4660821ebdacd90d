"""Gain against step time: the front of every pool, and where the trials lie, in cells."""

from __future__ import annotations

import numpy as np

from brainformer.search.charts.columns import Flags, Floats, Integers
from brainformer.search.charts.overview import DIGITS, SearchDigest
from brainformer.search.charts.pictures import Cells, Front

ACROSS, UP = 50, 40  # cells: at most 2,000
SHOWN = (0.002, 0.998)  # quantiles that the grid spans; what lies beyond counts in its edge


def front(digest: SearchDigest, shown: Flags, *, cells: bool) -> Front:
    """Returns the front of the trials shown, and a grid of all of them if `cells`.

    A step time is comparable within its pool only, so every pool has a front of its own, and the
    axis is the step time over that of the pool's baseline.
    """
    columns, ratio = digest.columns, digest.ratio()
    fitness = columns.figure("fitness")
    usable = np.flatnonzero(shown & columns.measured & np.isfinite(ratio))
    best = np.concatenate(
        [
            unbeaten(usable[columns.whole("pool")[usable] == pool], ratio, fitness)
            for pool in range(len(columns.pools.known))
        ]
        or [usable[:0]]
    )
    counted, width, height = (
        _cells(usable, columns.whole("pool"), ratio, fitness) if cells else (_EMPTY, 0.0, 0.0)
    )
    return Front(
        number=best.tolist(),
        pool=columns.whole("pool")[best].tolist(),
        ratio=np.round(ratio[best], 4).tolist(),
        fitness=np.round(fitness[best], DIGITS).tolist(),
        pools=columns.pools.known,
        cells=counted,
        cell_ratio=width,
        cell_fitness=height,
    )


def unbeaten(at: Integers, ratio: Floats, fitness: Floats) -> Integers:
    """Returns those that no other beats in both, the fastest first."""
    # Sorting by the ratio alone leaves a few that one of the same ratio beats, and is far quicker.
    few = _rising(at[np.argsort(ratio[at], kind="stable")], fitness)
    return _rising(few[np.lexsort((-fitness[few], ratio[few]))], fitness)


def _rising(order: Integers, fitness: Floats) -> Integers:
    """Returns those that are fitter than all before them."""
    if not order.size:
        return order
    reached = np.maximum.accumulate(fitness[order])
    before = np.concatenate([[-np.inf], reached[:-1]])
    kept: Integers = order[fitness[order] > before]
    return kept


_EMPTY = Cells(ratio=[], fitness=[], pool=[], count=[], best=[])


def _cells(
    at: Integers, pool: Integers, ratio: Floats, fitness: Floats
) -> tuple[Cells, float, float]:
    """Returns the grid's cells that hold a trial, with the best trial of each, and their size."""
    if not at.size:
        return _EMPTY, 0.0, 0.0
    x, low_x, width = _steps(ratio[at], ACROSS)
    y, low_y, height = _steps(fitness[at], UP)
    cell = (pool[at] * UP + y) * ACROSS + x
    count = np.bincount(cell)
    highest = np.full(len(count), -np.inf)
    np.maximum.at(highest, cell, fitness[at])
    is_best = np.flatnonzero(fitness[at] == highest[cell])[::-1]
    top = np.zeros(len(count), np.int64)
    top[cell[is_best]] = is_best  # the oldest of equals is written last
    held = np.flatnonzero(count)
    top = top[held]
    found = Cells(
        ratio=np.round(low_x + (x[top] + 0.5) * width, 4).tolist(),
        fitness=np.round(low_y + (y[top] + 0.5) * height, DIGITS).tolist(),
        pool=pool[at][top].tolist(),
        count=count[held].tolist(),
        best=at[top].tolist(),
    )
    return found, width, height


def _steps(values: Floats, many: int) -> tuple[Integers, float, float]:
    """Returns each value's step of a scale, where the scale begins, and how wide a step is."""
    low, high = np.quantile(values, SHOWN)
    size = float(max(high - low, 1e-9)) / many
    steps: Integers = np.clip((values - low) / size, 0, many - 1).astype(np.int64)
    return steps, float(low), size
