"""The whole of a search at a glance: points where they are few, bands where they are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from brainformer.search.charts.buckets import MOST_BUCKETS, Buckets, width_for
from brainformer.search.charts.columns import (
    BASELINE,
    CANDIDATE,
    KINDS,
    NOBODY,
    QUEUED,
    RUNNING,
    STATUSES,
    Flags,
    Floats,
    Integers,
    TrialColumns,
    plain,
    running_best,
)
from brainformer.search.charts.pictures import Band, Overview, Points, PoolLevel, Steps

MOST_POINTS = 3_000
NEWEST = 150
MOST_REPEATS = 500
MOST_CHANGES = 1_000
DIGITS = 5


@dataclass
class SearchDigest:
    """A search's columns, and the stretches computed so far, by pool and width.

    Attributes:
        levels: What each pool's figures are relative to, as of the last refresh.
        population_size: Of the spec: how many of the last ended candidates are members.
    """

    population_size: int
    columns: TrialColumns = field(default_factory=TrialColumns)
    levels: tuple[PoolLevel, ...] = ()
    _buckets: dict[tuple[str | None, int], Buckets] = field(default_factory=dict)

    def changed(self, numbers: Integers) -> None:
        """Brings the stretches of these trials up to date."""
        for buckets in self._buckets.values():
            buckets.refresh(self.columns, numbers)

    def buckets(self, pool: str | None, width: int) -> Buckets:
        """Returns the stretches of one width, computed from all trials the first time only."""
        found = self._buckets.get((pool, width))
        if found is None:
            found = self._buckets[pool, width] = Buckets(width, pool)
            found.refresh(self.columns, None)
        return found

    @property
    def members(self) -> Flags:
        """Who is in the population: the last ended candidates, by age alone."""
        rank = self.columns.whole("rank")
        youngest_outside = self.columns.ended_candidates - 1 - self.population_size
        found: Flags = (rank > youngest_outside) & (rank >= 0)
        return found

    def fitness(self) -> Floats:
        """Returns every trial's fitness; a baseline's run is measured by its own pool's mean."""
        columns = self.columns
        gain = self._level("loss") - columns.figure("loss")
        repeats = (columns.whole("kind") == BASELINE) & np.isfinite(self._level("loss"))
        return np.where(repeats, gain, columns.figure("fitness"))

    def loss(self) -> Floats:
        """Returns every trial's loss."""
        return self._level("loss") - self.fitness()

    def ratio(self) -> Floats:
        """Returns every trial's step time over that of its own pool's baseline."""
        found: Floats = self.columns.figure("step_time_ms") / self._level("step_time_ms")
        return found

    def _level(self, figure: Literal["loss", "step_time_ms"]) -> Floats:
        """Returns a figure of the baseline of each trial's own pool, NaN where there is none."""
        pools = self.columns.pools
        by_code = {pools.code(level.pool): getattr(level, figure) for level in self.levels}
        known = [by_code.get(code) or np.nan for code in range(len(pools.known))]
        return np.asarray([*known, np.nan])[self.columns.whole("pool")]  # the last is nobody's


def overview(
    digest: SearchDigest,
    *,
    pool: str | None = None,
    first: int = 0,
    last: int | None = None,
    after_seq: int | None = None,
    most: int = 800,
) -> Overview:
    """Returns the stretch from trial `first` to `last`, or what changed after `after_seq`.

    Args:
        digest: Of the search.
        pool: Only its trials; None means all.
        first: Number of the first trial.
        last: Number of the last one; None is the newest.
        after_seq: Only trials that changed since, if they are few.
        most: Stretches at most.
    """
    columns = digest.columns
    end = columns.size - 1 if last is None else min(last, columns.size - 1)
    shown = columns.stretch(pool, first, last)
    bands: list[Band] = []
    whole = after_seq is None
    if after_seq is not None:
        single = shown & (columns.whole("seq") > after_seq)
        if single.sum() > MOST_CHANGES:
            single, whole = shown & False, True
    elif shown.sum() <= MOST_POINTS:
        single = shown
    else:
        width = width_for(end - first + 1, min(most, MOST_BUCKETS))
        bands = _bands(digest, pool, first, end, width)
        single = shown & _worth_a_point(digest)
    return Overview(
        seq=columns.last_seq,
        total=int(columns.known.sum()),
        first=first,
        last=max(end, 0),
        pools=columns.pools.known,
        levels=list(digest.levels),
        kinds=_counted(columns, pool),
        totals=_counted(columns, None),
        points=points(digest, np.flatnonzero(single)),
        bands=bands,
        best=_best(digest, shown if after_seq is None else shown & False, pool),
        whole=whole,
    )


def points(digest: SearchDigest, at: Integers) -> Points:
    """Returns single trials as columns."""
    columns = digest.columns
    return Points(
        number=at.tolist(),
        kind=_words(columns.whole("kind")[at], KINDS),
        status=_words(columns.whole("status")[at], STATUSES),
        pool=columns.whole("pool")[at].tolist(),
        parent=numbers_or_none(columns.whole("parent")[at]),
        fitness=plain(digest.fitness()[at], DIGITS),
        step_time_ms=plain(columns.figure("step_time_ms")[at], 3),
        parameters=plain(columns.figure("parameters")[at]),
        finished=plain(columns.figure("finished")[at], 1),
        member=digest.members[at].tolist(),
    )


def numbers_or_none(values: Integers) -> list[int | None]:
    """Returns trial numbers, None where there is no trial."""
    return [None if value == NOBODY else value for value in values.tolist()]


def _worth_a_point(digest: SearchDigest) -> Flags:
    """Returns which of many trials are shown one by one: open ones, repeats, the newest."""
    columns = digest.columns
    status, kind = columns.whole("status"), columns.whole("kind")
    single: Flags = (status == RUNNING) | (status == QUEUED)
    repeats = np.flatnonzero(kind != CANDIDATE)[-MOST_REPEATS:]
    newest = np.argsort(columns.whole("seq"))[-NEWEST:] if columns.size else repeats
    single[repeats] = True
    single[newest] = True
    return single


def _bands(digest: SearchDigest, pool: str | None, first: int, last: int, width: int) -> list[Band]:
    pools = digest.columns.pools.known
    wanted = [pool] if pool is not None else list(pools)
    found = []
    for name in wanted:
        if name not in pools:
            continue
        buckets = digest.buckets(name, width)
        inside = np.arange(first // width, last // width + 1)
        inside = inside[buckets.counts[inside] > 0]
        columns = [plain(buckets.quantiles[inside, at], DIGITS) for at in range(5)]
        low, lower, median, upper, high = columns
        found.append(
            Band(
                pool=pools.index(name),
                width=width,
                number=(inside * width).tolist(),
                count=buckets.counts[inside].tolist(),
                low=low,
                lower=lower,
                median=median,
                upper=upper,
                high=high,
                finished=plain(buckets.ended[inside], 1),
            )
        )
    return found


def _best(digest: SearchDigest, shown: Flags, pool: str | None) -> Steps:
    """Returns where the best single run rose in the stretch, with where it stood at its start."""
    columns = digest.columns
    rose = running_best(columns.figure("fitness"), columns.measured & columns.of_pool(pool))
    if not shown.any():
        rose = rose[:0]
    else:
        begin, end = np.flatnonzero(shown)[[0, -1]]
        before = rose[rose < begin][-1:]
        rose = np.concatenate([before, rose[(rose >= begin) & (rose <= end)]])
    return Steps(
        number=rose.tolist(),
        fitness=plain(columns.figure("fitness")[rose], DIGITS),
        finished=plain(columns.figure("finished")[rose], 1),
    )


def _counted(columns: TrialColumns, pool: str | None) -> dict[str, dict[str, int]]:
    """Returns how many trials there are by kind and status."""
    inside = columns.of_pool(pool)
    many = len(STATUSES)
    both = columns.whole("kind")[inside] * many + columns.whole("status")[inside]
    counts = np.bincount(both, minlength=many * len(KINDS)).reshape(len(KINDS), many)
    found: dict[str, dict[str, int]] = {}
    for kind, row in zip(KINDS, counts.tolist(), strict=True):
        if any(row):
            found[kind] = {name: count for name, count in zip(STATUSES, row, strict=True) if count}
    return found


def _words(codes: Integers, words: Sequence[str]) -> list[str]:
    return [words[code] for code in codes.tolist()]
