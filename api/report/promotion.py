"""A promotion for people: Table 3 as rows, what it proves in sentences, its ladder as a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence

from brainformer.api.report.svg_scatter import Point, scatter, standing_alone
from brainformer.search.errors import NotFound
from brainformer.search.estimates.speedup import Speedup
from brainformer.search.estimates.verdict import Verdict
from brainformer.search.scaling.solving import count
from brainformer.search.store.records import PromotionRecord
from brainformer.search.studies.promotion_points import span
from brainformer.search.studies.promotion_result import Claim, PromotionResult
from brainformer.search.studies.promotion_table import PointResult, PromotedRow

COLUMNS = (
    *("model", "shape", "total", "activated", "steps/s", "tokens"),
    *("log-perplexity", "gain", "speedup [90%]"),
)
WORDS = {
    Verdict.BETTER: "beats the rival at every scale: its effective speedup is above 1 at 95%",
    Verdict.UNDECIDED: "may or may not beat the rival at every scale",
    Verdict.NOT_BETTER: "does not beat the rival at every scale",
    Verdict.NOT_ENOUGH_RUNS: "has too few fresh runs so far",
    Verdict.NOT_CONFIRMED: "has no fresh runs so far",
}


def table_rows(result: PromotionResult) -> list[tuple[str, ...]]:
    """Returns the rows of the paper's Table 3 for a promotion, point by point."""
    return [_row(point, row) for point in result.points for row in point.rows]


def _row(point: PointResult, row: PromotedRow) -> tuple[str, ...]:
    name = "rival" if row.trial is None else f"trial {row.trial}"
    return (
        f"{name} at {point.label}",
        row.shape,
        count(row.parameters),
        count(row.activated_parameters),
        _number(row.steps_per_second, 2),
        "-" if row.tokens is None else count(round(row.tokens)),
        _interval(row.loss, row.loss_interval, 4),
        _interval(row.gain, row.gain_interval, 4),
        "1" if row.trial is None else speedup_words(row.speedup),
    )


def speedup_words(speedup: Speedup | None) -> str:
    """Returns a speedup with its interval, or on which side of the ladder it lies."""
    if speedup is None:
        return "-"
    low, high = speedup.low, speedup.high
    if low is None and high is None:
        return f"{_number(speedup.value, 2)} [the whole ladder]"
    if low is None:
        ends = f"under {high:.2f}"
    elif high is None:
        ends = f"over {low:.2f}"
    else:
        ends = f"{low:.2f}, {high:.2f}"
    return ends if speedup.value is None else f"{speedup.value:.2f} [{ends}]"


def claim_sentences(result: PromotionResult) -> list[str]:
    """Returns one sentence a block on what its promotion proves."""
    return [_sentence(claim) for claim in result.claims]


def _sentence(claim: Claim) -> str:
    trend = claim.trend
    how = ""
    if trend is not None:
        how = f"; d ln S / d ln C {trend.slope:+.3f} [{trend.low:+.3f}, {trend.high:+.3f}]"
    return f"trial {claim.trial} {WORDS[claim.verdict]}{how}"


def remarks(promotion: PromotionRecord) -> list[str]:
    """Returns what to mind: what was left out, what tuning says, and why nothing starts."""
    result = promotion.result
    found = [f"left out: {words}" for words in result.left_out]
    found += [f"at {point.label}: {note}" for point in result.points for note in point.notes]
    return found + ([promotion.waiting] if promotion.waiting else [])


def standing(promotion: PromotionRecord) -> str:
    """Returns where a promotion stands, in one sentence."""
    result, study = promotion.result, promotion.study
    budgets = ", ".join(f"{one.label} {span(one.budget_seconds)}" for one in result.points)
    return (
        f"{study.name} is {study.status.value}: {result.finished} of about {result.planned} runs "
        f"have ended on {promotion.pool}; budgets: {budgets}"
    )


def ladder_points(point: PointResult) -> list[Point]:
    """Returns a point's runs: the rival's ladder, and every block at its budget."""
    found = [
        Point(math.log2(rung.budget_seconds), loss, "rival", "rival")
        for rung in point.ladder
        for loss in rung.losses
        if loss is not None
    ]
    for row in point.rows:
        if row.trial is not None:
            found += [
                Point(math.log2(point.budget_seconds), loss, "dot", f"trial {row.trial}")
                for loss in row.losses
                if loss is not None
            ]
    return found


def ladder_plot(points: Sequence[Point]) -> str:
    """Returns the plot of at least one run."""
    return scatter(points, x_label="log2 of training seconds", y_label="test loss, nats a token")


def promotion_plot(promotion: PromotionRecord) -> str:
    """Returns the ladders of all points as one SVG document; the rival is red.

    Raises:
        NotFound: no fresh run has ended.
    """
    points = [one for point in promotion.result.points for one in ladder_points(point)]
    if not points:
        raise NotFound("fresh run that has ended", f"in {promotion.study.name}")
    return standing_alone(ladder_plot(points))


def _interval(value: float | None, ends: tuple[float, float] | None, digits: int) -> str:
    if value is None or ends is None:
        return _number(value, digits)
    return f"{value:.{digits}f} [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
