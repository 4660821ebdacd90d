"""How sure it is that one block's loss is lower than another's, from fresh runs of both.

A run that diverged has no loss; it counts as worse than any finite one. Without one, Welch's t
(Welch, 1947) compares the means of unequal variances; with one, the exact rank-sum test
(Wilcoxon, 1945; ties count half) compares the order alone. Several comparisons at once are
corrected by Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeVar

from scipy.special import stdtr, stdtrit

Losses = Sequence[float | None]
Key = TypeVar("Key")
FEWEST_RUNS = 2  # a side; fewer show no noise
MOST_ARRANGEMENTS = 200_000  # that the rank-sum test counts out; beyond, its normal limit


def p_value(block: Losses, rival: Losses) -> float | None:
    """Returns the one-sided p-value of "the block is no better"; None with too few runs.

    Args:
        block: Losses of fresh runs, nats a token; None for a run that diverged.
        rival: The same of the rival.
    """
    if len(block) < FEWEST_RUNS or len(rival) < FEWEST_RUNS:
        return None
    if None in block or None in rival:
        return _rank_sum(_ordered(block), _ordered(rival))
    return _welch(_known(block), _known(rival))


def paired_p_value(better: Losses, worse: Losses) -> float | None:
    """Returns the one-sided p-value of "no better" from runs paired by repeat; None with too few.

    Only repeats that both have count. Paired runs share initial key and data order, so what the
    seed does to both cancels.
    """
    count = min(len(better), len(worse))
    if count < FEWEST_RUNS:
        return None
    first, second = better[:count], worse[:count]
    if None in first or None in second:
        return _rank_sum(_ordered(first), _ordered(second))
    gains = [b - a for a, b in zip(_known(first), _known(second), strict=True)]
    deviation = standard_deviation(gains) or 0.0
    return _tail(mean(gains), deviation / math.sqrt(count), count - 1)


def holm(values: Mapping[Key, float]) -> dict[Key, float]:
    """Returns p-values corrected for being several (Holm, 1979), by the same keys."""
    adjusted: dict[Key, float] = {}
    largest = 0.0
    ordered = sorted(values.items(), key=lambda item: item[1])
    for rank, (key, value) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * value))
        adjusted[key] = largest
    return adjusted


def margin(repeats: int, deviation: float | None, *, quantile: float = 0.99) -> float | None:
    """Returns how far above the mean of some runs a further, equal run may lie.

    Student's t for a new observation: t(quantile, R - 1) x s x sqrt(1 + 1/R).

    Args:
        repeats: R, the runs that the deviation is of.
        deviation: Their sample standard deviation s.
        quantile: Share of equal runs that stays within.

    Returns:
        The margin in the deviation's unit; None where fewer than two runs show no noise.
    """
    if deviation is None or repeats < FEWEST_RUNS:
        return None
    return float(stdtrit(repeats - 1, quantile)) * deviation * math.sqrt(1 + 1 / repeats)


def standard_deviation(values: Sequence[float]) -> float | None:
    """Returns the sample standard deviation; None for fewer than two values."""
    if len(values) < FEWEST_RUNS:
        return None
    middle = mean(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1))


def sample_like(count: int, middle: float, deviation: float | None) -> list[float]:
    """Returns values of this number, mean and deviation: all that Welch's test looks at.

    For runs of which only these are known; without a deviation, or with one value, none at all.
    """
    if deviation is None or count < FEWEST_RUNS:
        return []
    places = [at - (count - 1) / 2 for at in range(count)]
    unit = math.sqrt(sum(place * place for place in places) / (count - 1))
    return [middle + deviation * place / unit for place in places]


def gain_interval(
    block: Losses, rival: Losses, *, level: float = 0.95
) -> tuple[float, float] | None:
    """Returns the two-sided Welch interval of the rival's mean loss minus the block's.

    None with fewer than two runs a side, or where a run diverged.
    """
    if len(block) < FEWEST_RUNS or len(rival) < FEWEST_RUNS or None in block or None in rival:
        return None
    own, other = _known(block), _known(rival)
    gain = mean(other) - mean(own)
    error, freedom = _welch_error(own, other)
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error if error else 0.0
    return gain - half, gain + half


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """Returns Student's two-sided interval of a mean; None for fewer than two values."""
    deviation = standard_deviation(values)
    if deviation is None:
        return None
    return interval_around(mean(values), deviation, len(values), level=level)


def interval_around(
    middle: float, deviation: float, count: int, *, level: float = 0.95
) -> tuple[float, float]:
    """Returns Student's two-sided interval of a mean of `count` values, two or more."""
    half = float(stdtrit(count - 1, 0.5 + level / 2)) * deviation / math.sqrt(count)
    return middle - half, middle + half


def _welch(block: list[float], rival: list[float]) -> float:
    error, freedom = _welch_error(block, rival)
    return _tail(mean(rival) - mean(block), error, freedom)


def _welch_error(block: list[float], rival: list[float]) -> tuple[float, float]:
    """Returns the standard error of the difference of means, and its degrees of freedom."""
    parts = [(standard_deviation(one) or 0.0) ** 2 / len(one) for one in (block, rival)]
    total = sum(parts)
    if total == 0:
        return 0.0, 1.0
    spread = sum(part**2 / (len(one) - 1) for part, one in zip(parts, (block, rival), strict=True))
    return math.sqrt(total), total**2 / spread


def _tail(gain: float, error: float, freedom: float) -> float:
    """Returns the chance of so large a gain or a larger one where there is none."""
    if error == 0:
        return 0.5 if gain == 0 else 0.0 if gain > 0 else 1.0
    return float(stdtr(freedom, -gain / error))


def _rank_sum(block: list[float], rival: list[float]) -> float:
    """Returns the exact one-sided p-value of the rank-sum test; ties count half."""
    together = [*block, *rival]
    size, own = len(together), len(block)
    wins = [[_half_point(one, other) for other in together] for one in together]

    def score(chosen: Sequence[int]) -> float:
        inside = set(chosen)
        return sum(wins[i][j] for i in chosen for j in range(size) if j not in inside)

    observed = score(range(own))
    if math.comb(size, own) > MOST_ARRANGEMENTS:
        middle = own * (size - own) / 2
        deviation = math.sqrt(middle * (size + 1) / 6)
        return 0.5 * math.erfc((observed - middle) / deviation / math.sqrt(2))
    scores = [score(chosen) for chosen in combinations(range(size), own)]
    return sum(one >= observed - 1e-9 for one in scores) / len(scores)


def _half_point(one: float, other: float) -> float:
    return 0.5 if one == other else float(one < other)


def _ordered(losses: Losses) -> list[float]:
    return [math.inf if loss is None else loss for loss in losses]


def _known(losses: Losses) -> list[float]:
    return [loss for loss in losses if loss is not None]


def mean(values: Sequence[float]) -> float:
    """Returns the mean of at least one value."""
    return math.fsum(values) / len(values)
