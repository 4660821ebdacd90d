"""What fresh runs say of a block and its rival, in one word."""

from __future__ import annotations

from enum import StrEnum

from brainformer.search.estimates.comparison import FEWEST_RUNS

CONFIDENT = 0.95


class Verdict(StrEnum):
    """Whether a block beats its rival, as far as fresh runs show."""

    NOT_CONFIRMED = "not_confirmed"
    NOT_ENOUGH_RUNS = "not_enough_runs"
    BETTER = "better"
    UNDECIDED = "undecided"
    NOT_BETTER = "not_better"


def verdict(confidence: float | None, *, runs: int) -> Verdict:
    """Returns the verdict.

    Args:
        confidence: One minus the corrected p-value of "no better"; None with too few runs.
        runs: Fresh runs of the block.
    """
    if not runs:
        return Verdict.NOT_CONFIRMED
    if confidence is None or runs < FEWEST_RUNS:
        return Verdict.NOT_ENOUGH_RUNS
    if confidence >= CONFIDENT:
        return Verdict.BETTER
    return Verdict.NOT_BETTER if confidence <= 1 - CONFIDENT else Verdict.UNDECIDED
