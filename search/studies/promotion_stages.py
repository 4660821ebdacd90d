"""What a promotion runs next: tuning at every point, then the proof of what tuning chose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from brainformer.search.errors import InvalidSpec
from brainformer.search.studies.plan import PlannedRun
from brainformer.search.studies.promotion import (
    Entrant,
    PromotedRun,
    PromotionPlan,
    PromotionRequest,
    Stage,
)
from brainformer.search.studies.promotion_points import Field, promotion_points

FIRST_REPEAT = 10_000  # seeds apart from those of the search's own repeats
MOST_RUNS = 5_000
LONGEST_LABEL = 64


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
        loss: Nats a token; None where there is none.
        diverged: Whether that is the block's doing.
    """

    loss: float | None = None
    diverged: bool = False

    @property
    def tells(self) -> bool:
        """Whether that says something of the block: it was trained, or it diverged."""
        return self.diverged or self.loss is not None


class Choice(NamedTuple):
    """What tuning chose for an entrant: a shape by index, and a multiple of its learning rate."""

    shape: int
    rate: float


def plan_promotion(request: PromotionRequest, field: Field, pool: str) -> PromotionPlan:
    """Returns the plan with its first runs, those of cheap points first.

    Raises:
        InvalidSpec: a point cannot be reached, a budget is too small, or there are too many runs.
    """
    points, left_out = promotion_points(request, field)
    plan = PromotionPlan(request=request, pool=pool, points=tuple(points), left_out=tuple(left_out))
    runs = 0
    seconds = 0.0
    for at, point in enumerate(points):
        tuning = len(_tuning(plan, at))
        finalists = sum(bool(one.shapes) for one in point.entrants[:-1])
        runs += tuning + request.repeats * (finalists + len(request.ladder))
        proof = request.repeats * (finalists + sum(request.ladder))
        seconds += point.budget_seconds * (tuning + proof)
    if runs > MOST_RUNS:
        raise InvalidSpec(
            f"this promotion would run {runs} trials, at most {MOST_RUNS} are allowed: ask for "
            "fewer blocks, scales, repeats or learning rates",
            pointer="/repeats",
        )
    plan = plan.model_copy(update={"expected": runs, "expected_seconds": seconds})
    cheap = sorted(range(len(points)), key=lambda at: points[at].budget_seconds)
    return plan.with_runs(
        [run for at in cheap for run in _tuning(plan, at) or _proof(plan, at, [])]
    )


def next_runs(plan: PromotionPlan, ended: Sequence[Ended | None]) -> list[PromotedRun]:
    """Returns the runs that follow from what has ended: the proof at points whose tuning is over.

    Args:
        plan: With its runs so far.
        ended: How each of them ended, in order; None while it is open.
    """
    proven = {run.point for run in plan.runs if run.stage is Stage.PROOF}
    found: list[PromotedRun] = []
    for at in range(len(plan.points)):
        if at in proven:
            continue
        pairs = [
            (run, how)
            for run, how in zip(plan.runs, ended, strict=True)
            if run.point == at and how is not None
        ]
        if len(pairs) == sum(run.point == at for run in plan.runs):
            found += _proof(plan, at, pairs)
    return found


def _tuning(plan: PromotionPlan, at: int) -> list[PromotedRun]:
    """Returns a point's tuning runs; entrants with one shape and one learning rate need none."""
    rates = plan.request.learning_rates
    return [
        PromotedRun(point=at, entrant=entrant, shape=shape, rate=rate, stage=Stage.TUNING)
        for entrant, one in enumerate(plan.points[at].entrants)
        if len(one.shapes) * len(rates) > 1
        for shape in range(len(one.shapes))
        for rate in rates
    ]


def _proof(
    plan: PromotionPlan, at: int, tuned: Sequence[tuple[PromotedRun, Ended]]
) -> list[PromotedRun]:
    """Returns a point's fresh runs, interleaved; without a rival that trains there are none."""
    entrants = plan.points[at].entrants
    chosen = [choice(plan, at, entrant, tuned) for entrant in range(len(entrants))]
    if chosen[-1] is None:
        return []
    found: list[PromotedRun] = []
    for repeat in range(1, plan.request.repeats + 1):
        for entrant, one in enumerate(chosen):
            if one is None:
                continue
            rungs = sorted(plan.request.ladder) if entrant == len(entrants) - 1 else [1.0]
            found += [
                PromotedRun(
                    point=at,
                    entrant=entrant,
                    shape=one.shape,
                    rate=one.rate,
                    stage=Stage.PROOF,
                    rung=rung,
                    repeat=repeat,
                )
                for rung in rungs
            ]
    return found


def choice(
    plan: PromotionPlan, at: int, entrant: int, tuned: Sequence[tuple[PromotedRun, Ended]]
) -> Choice | None:
    """Returns the shape and learning rate of the least loss in tuning; None where nothing trained.

    Args:
        plan: Of the promotion.
        at: The point.
        entrant: The entrant.
        tuned: The point's tuning runs that have ended.
    """
    one: Entrant = plan.points[at].entrants[entrant]
    rates = plan.request.learning_rates
    if not one.shapes:
        return None
    if len(one.shapes) * len(rates) == 1:
        return Choice(0, rates[0])
    losses = [
        (math.inf if how.loss is None else how.loss, order, run)
        for order, (run, how) in enumerate(tuned)
        if (run.point, run.entrant, run.stage) == (at, entrant, Stage.TUNING)
    ]
    if not losses:
        return None
    loss, _, best = min(losses, key=lambda item: item[:2])
    return Choice(best.shape, best.rate) if loss < math.inf else None


def planned_run(plan: PromotionPlan, run: PromotedRun) -> PlannedRun:
    """Returns a run as it is queued."""
    shape, point = plan.shape_of(run), plan.points[run.point]
    entrant = point.entrants[run.entrant]
    proof = run.stage is Stage.PROOF
    changes = {
        "budget_seconds": run.rung * shape.proxy.budget_seconds,
        "peak_learning_rate": run.rate * shape.proxy.peak_learning_rate,
        "evaluation_split": "test" if proof else "validation",
    }
    label = f"{point.label}, {run.stage}: {entrant.name}, d={shape.genome.model_dim}, "
    label += f"budget x{run.rung:g}" if proof else f"learning rate x{run.rate:g}"
    return PlannedRun(
        genome=shape.genome,
        proxy=shape.proxy.model_copy(update=changes),
        repeat=FIRST_REPEAT + run.repeat,
        label=label[:LONGEST_LABEL],
        parent=entrant.trial,
        pool=plan.pool,
    )
