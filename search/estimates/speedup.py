"""Effective speedup: how much longer the rival must train to reach the loss of a block.

S = T_b(L) / T: a block that was trained for T has the loss L, and the rival reaches L at T_b(L),
read from a ladder of trainings of several lengths, each with its own schedule, by interpolation in
(log T, L): a cubic through the four nearest rungs, since the chord of a convex curve is off by more
than the noise of a few runs. No asymptote is assumed, so nothing is said beyond the ladder but that
it is beyond.

The interval inverts a test (Fieller, 1954): it holds every time at which the rival's loss, as the
ladder has it, does not differ from the block's. benchmarks/speedup_coverage.py measures how often
it covers the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from brainformer.search.estimates.comparison import FEWEST_RUNS, Losses, mean

LEVEL = 0.9  # two-sided: the lower end is a bound that holds at 95%
FEWEST_RUNGS = 2
NEIGHBOURS = 4  # rungs that the interpolation goes through
POINTS_A_SEGMENT = 400
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Speedup:
    """An effective speedup with its interval.

    Attributes:
        value: None where the block's loss lies outside the ladder's.
        low: None where the interval leaves the ladder at its short end.
        high: None where it does so at its long end.
        log_error: Half the interval of ln S over the normal quantile; None for an open interval.
    """

    value: float | None
    low: float | None
    high: float | None
    log_error: float | None


@dataclass(frozen=True)
class Trend:
    """How ln S changes with ln C, the compute of the scales; with its interval."""

    slope: float
    low: float
    high: float


class _Ladder:
    """The rival's losses at several lengths of training, and their noise."""

    def __init__(self, runs: Mapping[float, Losses]) -> None:
        known = {
            seconds: [loss for loss in losses if loss is not None]
            for seconds, losses in sorted(runs.items())
        }
        known = {seconds: losses for seconds, losses in known.items() if losses}
        self.log_times: Vector = np.log(np.asarray(list(known), np.float64))
        self.means: Vector = np.asarray([mean(losses) for losses in known.values()], np.float64)
        self.counts: Vector = np.asarray([len(losses) for losses in known.values()], np.float64)
        self.freedom = int(self.counts.sum()) - len(known)
        squares = sum((loss - mean(losses)) ** 2 for losses in known.values() for loss in losses)
        self.variance = squares / self.freedom if self.freedom else 0.0

    def at(self, log_times: Vector) -> tuple[Vector, Vector]:
        """Returns the interpolated means, and by what their variance multiplies one run's."""
        count = len(self.log_times)
        width = min(NEIGHBOURS, count)
        upper = np.clip(np.searchsorted(self.log_times, log_times), 1, count - 1)
        first = np.clip(upper - width // 2, 0, count - width)
        near = first[:, None] + np.arange(width)
        places = self.log_times[near]
        weights = np.ones_like(places)
        for at in range(width):
            for other in range(width):
                if other != at:
                    gap = places[:, at] - places[:, other]
                    weights[:, at] *= (log_times - places[:, other]) / gap
        means = (weights * self.means[near]).sum(axis=1)
        share = (weights**2 / self.counts[near]).sum(axis=1)
        return means, share


def effective_speedup(
    block: Losses, ladder: Mapping[float, Losses], budget: float, *, level: float = LEVEL
) -> Speedup | None:
    """Returns the effective speedup of a block; None with too few runs or where one diverged.

    Args:
        block: Losses of fresh runs of the block, nats a token; None for a run that diverged.
        ladder: The same of the rival by training seconds; runs that diverged are left out, which
            favours the rival.
        budget: Training seconds of the block's runs.
        level: Of the two-sided interval.
    """
    if len(block) < FEWEST_RUNS or None in block:
        return None
    rungs = _Ladder(ladder)
    if len(rungs.means) < FEWEST_RUNGS or not rungs.freedom:
        return None
    losses = [loss for loss in block if loss is not None]
    middle = mean(losses)
    own = sum((loss - middle) ** 2 for loss in losses) / (len(losses) - 1) / len(losses)
    grid = _grid(rungs.log_times)
    means, share = rungs.at(grid)
    theirs = rungs.variance * share
    error = np.sqrt(own + theirs)
    quantile = _quantile(own, len(losses) - 1, theirs, rungs.freedom, level)
    return _speedup(grid, means - middle, quantile * error, budget, level)


def _grid(log_times: Vector) -> Vector:
    parts = [
        np.linspace(start, end, POINTS_A_SEGMENT, endpoint=False)
        for start, end in pairwise(log_times)
    ]
    return np.concatenate([*parts, log_times[-1:]])


def _quantile(
    own: float, own_freedom: int, theirs: Vector, their_freedom: int, level: float
) -> Vector:
    """Returns Student's quantile with Welch's degrees of freedom, at each time."""
    spread = own**2 / own_freedom + theirs**2 / their_freedom
    total = (own + theirs) ** 2
    freedom = np.divide(total, spread, out=np.full_like(theirs, np.inf), where=spread > 0)
    return np.asarray(stdtrit(np.minimum(freedom, 1e6), (1 + level) / 2), np.float64)


def _speedup(
    grid: Vector,
    above: Vector,
    margin: Vector,
    budget: float,
    level: float,
) -> Speedup:
    """Returns the speedup whose interval is where the rival does not differ from the block.

    Args:
        grid: Log seconds.
        above: The rival's loss less the block's, there.
        margin: How large a difference the noise explains.
        budget: Of the block, in seconds.
        level: Of the interval.
    """
    zero = math.log(budget)
    at = _crossing(above)
    value = None if at is None else _between(grid, above, at, zero)
    inside = np.flatnonzero(np.abs(above) <= margin)
    if not len(inside) and at is not None:  # noise finer than the grid
        inside = np.asarray([at, at + 1])
    if not len(inside):  # all of the ladder is too short, or all of it is too long
        beyond = float(grid[-1] if above[-1] > 0 else grid[0])
        bound = math.exp(beyond - zero)
        too_short = bool(above[-1] > 0)
        return Speedup(value, bound if too_short else None, None if too_short else bound, None)
    low = None if inside[0] == 0 else math.exp(float(grid[inside[0]]) - zero)
    high = None if inside[-1] == len(grid) - 1 else math.exp(float(grid[inside[-1]]) - zero)
    error = None
    if low is not None and high is not None:
        error = 0.5 * math.log(high / low) / float(ndtri((1 + level) / 2))
    return Speedup(value, low, high, error)


def _crossing(above: Vector) -> int | None:
    """Returns the place before the rival has the block's loss; of several, the middle one."""
    places = np.flatnonzero((above[:-1] > 0) != (above[1:] > 0))
    return int(places[len(places) // 2]) if len(places) else None


def _between(grid: Vector, above: Vector, at: int, zero: float) -> float:
    share = above[at] / (above[at] - above[at + 1])
    return math.exp(float(grid[at] + share * (grid[at + 1] - grid[at])) - zero)


def trend(
    compute: Sequence[float], speedups: Sequence[Speedup | None], *, level: float = LEVEL
) -> Trend | None:
    """Returns d ln S / d ln C, weighted by the errors of ln S; None where it is not known.

    Args:
        compute: Training FLOPs of the rival at each scale.
        speedups: At each scale; all must be known, with closed intervals.
        level: Of the interval.
    """
    points = [
        (math.log(c), math.log(one.value), one.log_error)
        for c, one in zip(compute, speedups, strict=True)
        if one is not None and one.value is not None and one.log_error
    ]
    if len(points) < len(speedups) or len({x for x, _, _ in points}) < 2:
        return None
    x, y, error = (np.asarray(column, np.float64) for column in zip(*points, strict=True))
    weight = 1 / error**2
    centre = float((weight * x).sum() / weight.sum())
    spread = float((weight * (x - centre) ** 2).sum())
    slope = float((weight * (x - centre) * y).sum() / spread)
    half = float(ndtri((1 + level) / 2)) / math.sqrt(spread)
    return Trend(slope, slope - half, slope + half)
