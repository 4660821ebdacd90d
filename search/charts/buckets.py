"""Fitness by stretches of trials: quantiles of every stretch, kept and brought up to date.

A stretch (bucket) holds as many trials as a power of two, so that the stretches of one width serve
every view that needs that width, and a new trial changes one of them.
"""

from __future__ import annotations

import numpy as np

from brainformer.search.charts.columns import Floats, Integers, TrialColumns

MOST_BUCKETS = 2_000
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Buckets:
    """Quantiles of fitness over stretches of `width` trials, of one pool or of all.

    Attributes:
        counts: Candidates with a fitness, by stretch.
        quantiles: By stretch and quantile, NaN where nothing was measured.
        ended: When the median candidate of the stretch ended, in seconds since 1970.
    """

    def __init__(self, width: int, pool: str | None) -> None:
        self.width = width
        self.pool = pool
        self.counts: Integers = np.zeros(0, np.int64)
        self.quantiles: Floats = np.zeros((0, len(QUANTILES)))
        self.ended: Floats = np.zeros(0)

    def refresh(self, columns: TrialColumns, changed: Integers | None) -> None:
        """Computes the stretches of changed trials anew; None is all of them."""
        wanted = -(-columns.size // self.width)
        more = wanted - len(self.counts)
        if more > 0:
            self.counts = np.append(self.counts, np.zeros(more, np.int64))
            self.ended = np.append(self.ended, np.full(more, np.nan))
            empty = np.full((more, len(QUANTILES)), np.nan)
            self.quantiles = np.concatenate([self.quantiles, empty])
        stale = range(wanted) if changed is None else np.unique(changed // self.width).tolist()
        usable = columns.measured & columns.of_pool(self.pool)
        fitness, finished = columns.figure("fitness"), columns.figure("finished")
        for at in stale:
            part = slice(at * self.width, (at + 1) * self.width)
            inside = usable[part]
            values = fitness[part][inside]
            self.counts[at] = values.size
            if values.size:
                self.quantiles[at] = np.quantile(values, QUANTILES)
                self.ended[at] = np.median(finished[part][inside])


def width_for(trials: int, most: int = MOST_BUCKETS) -> int:
    """Returns the least power of two with which so many trials make at most `most` stretches."""
    width = 1
    while -(-trials // width) > most:
        width *= 2
    return width
