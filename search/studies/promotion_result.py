"""What a promotion shows: Table 3 of arXiv:2306.00008 for this search, and what it proves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from brainformer.search.estimates.speedup import Trend, effective_speedup, trend
from brainformer.search.estimates.verdict import CONFIDENT, Verdict
from brainformer.search.studies.promotion import PromotionPlan
from brainformer.search.studies.promotion_table import Figures, PointResult, point_result, rungs


class Claim(BaseModel):
    """Whether a block beats its rival at every point.

    Attributes:
        verdict: `better` if the lower bounds of all speedups are above 1 at a joint error of 5% for
            all blocks, and do not shrink with the compute.
        trend: d ln S / d ln C over the points, two-sided 90%.
    """

    model_config = ConfigDict(frozen=True)

    trial: int
    verdict: Verdict
    trend: Trend | None = None


class PromotionResult(BaseModel):
    """What a promotion shows so far; `finished` runs have ended, of about `planned`."""

    model_config = ConfigDict(frozen=True)

    planned: int
    finished: int
    points: tuple[PointResult, ...] = ()
    claims: tuple[Claim, ...] = ()
    left_out: tuple[str, ...] = ()


@lru_cache(maxsize=32)
def promotion_result(plan: PromotionPlan, figures: tuple[Figures, ...]) -> PromotionResult:
    """Returns what a promotion shows so far.

    Args:
        plan: With its runs so far.
        figures: Of every run, in the plan's order.
    """
    measured = list(zip(plan.runs, figures, strict=True))
    points = [point_result(plan, at, measured) for at in range(len(plan.points))]
    blocks = len(plan.points[0].entrants) - 1
    return PromotionResult(
        planned=plan.expected,
        finished=sum(one.ended is not None for one in figures),
        points=tuple(points),
        claims=tuple(
            _claim(points, at, row.trial, blocks)
            for at, row in enumerate(points[0].rows)
            if row.trial is not None
        ),
        left_out=plan.left_out,
    )


def _claim(points: Sequence[PointResult], block: int, trial: int, blocks: int) -> Claim:
    """Returns whether a block beats its rival at every point, at a joint error over the blocks."""
    speedups = [point.rows[block].speedup for point in points]
    found = None
    compute = [point.compute for point in points if point.compute is not None]
    if len(compute) == len(points):
        found = trend(compute, speedups)
    return Claim(trial=trial, verdict=_verdict(points, block, blocks, found), trend=found)


def _verdict(
    points: Sequence[PointResult], block: int, blocks: int, found: Trend | None
) -> Verdict:
    rows = [point.rows[block] for point in points]
    if any(row.diverged for row in rows):
        return Verdict.NOT_BETTER
    level = 1 - 2 * (1 - CONFIDENT) / blocks  # Bonferroni; one side has half of what is left
    sure = [
        effective_speedup(
            point.rows[block].losses, rungs(point.ladder), point.budget_seconds, level=level
        )
        for point in points
    ]
    if not any(row.runs for row in rows):
        return Verdict.NOT_CONFIRMED
    if any(one is None for one in sure):
        return Verdict.NOT_ENOUGH_RUNS
    if any(one.high is not None and one.high < 1 for one in sure if one is not None):
        return Verdict.NOT_BETTER
    holds = all(one.low is not None and one.low > 1 for one in sure if one is not None)
    shrinks = found is not None and found.high < 0
    return Verdict.BETTER if holds and not shrinks else Verdict.UNDECIDED
