"""A promotion at one point: the rows of the paper's Table 3, and the rival's ladder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict

from brainformer.search.cost.cost import activated_parameters, flops_per_token, parameters
from brainformer.search.estimates.comparison import gain_interval, mean, mean_interval
from brainformer.search.estimates.speedup import Speedup, effective_speedup
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.studies.promotion import PromotedRun, PromotionPlan, Stage
from brainformer.search.studies.promotion_stages import Choice, Ended, choice, planned_run


class Figures(NamedTuple):
    """What one run has measured; `ended` is None while it is open."""

    ended: Ended | None = None
    bits_per_byte: float | None = None
    step_time_ms: float | None = None
    tokens: int | None = None


Measured: TypeAlias = Sequence[tuple[PromotedRun, Figures]]


class PromotedRow(BaseModel):
    """A block at a point: one row of the paper's Table 3.

    Attributes:
        trial: Number of the trial that found it; null for the rival.
        shape: How often what is stacked, and how wide.
        genome: As tuning chose it, with the proxy that it was trained under; null before.
        learning_rate: The peak that tuning chose.
        runs: Fresh runs at the point's budget, on the test split, those that diverged among them.
        losses: Of these runs, in order of repeat; null for one that diverged.
        loss: Their mean, nats a token; null where one diverged.
        loss_interval: Two-sided 95%.
        tokens_per_parameter: Tokens seen over activated parameters.
        gain: The rival's mean loss minus the block's, at equal time.
        gain_interval: Two-sided 95%.
        speedup: The rival's time to the block's loss, over the block's time; two-sided 90%.
    """

    model_config = ConfigDict(frozen=True)

    trial: int | None
    shape: str
    genome: Genome | None = None
    proxy: Proxy | None = None
    parameters: int
    activated_parameters: int
    learning_rate: float | None = None
    steps_per_second: float | None = None
    tokens: float | None = None
    tokens_per_parameter: float | None = None
    runs: int = 0
    diverged: int = 0
    losses: tuple[float | None, ...] = ()
    loss: float | None = None
    loss_interval: tuple[float, float] | None = None
    bits_per_byte: float | None = None
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None
    speedup: Speedup | None = None


class Rung(BaseModel):
    """The rival at one budget: losses by repeat, null where a run diverged."""

    model_config = ConfigDict(frozen=True)

    budget_seconds: float
    losses: tuple[float | None, ...]


class PointResult(BaseModel):
    """A point of a promotion: Table 3's rows, the rival's last, and its ladder.

    Attributes:
        compute: Training FLOPs of the rival at the point's budget.
        notes: What to mind.
    """

    model_config = ConfigDict(frozen=True)

    label: str
    budget_seconds: float
    tuned: bool
    compute: float | None = None
    rows: tuple[PromotedRow, ...] = ()
    ladder: tuple[Rung, ...] = ()
    notes: tuple[str, ...] = ()


def point_result(plan: PromotionPlan, at: int, measured: Measured) -> PointResult:
    """Returns what a promotion shows at one of its points so far."""
    here = [(run, one) for run, one in measured if run.point == at]
    tuning = [(run, one) for run, one in here if run.stage is Stage.TUNING]
    ended = [(run, one.ended) for run, one in tuning if one.ended is not None]
    tuned = len(ended) == len(tuning)
    point = plan.points[at]
    count = len(point.entrants)
    chosen = [choice(plan, at, entrant, ended) if tuned else None for entrant in range(count)]
    ladder = _ladder(plan, at, here)
    rows = [_row(plan, at, entrant, chosen[entrant], here, ladder) for entrant in range(count)]
    return PointResult(
        label=point.label,
        budget_seconds=point.budget_seconds,
        tuned=tuned,
        compute=_compute(rows[-1]),
        rows=tuple(rows),
        ladder=ladder,
        notes=tuple(_notes(plan, at, chosen, here)),
    )


def _ladder(plan: PromotionPlan, at: int, here: Measured) -> tuple[Rung, ...]:
    rival = len(plan.points[at].entrants) - 1
    budget = plan.points[at].budget_seconds
    found = []
    for rung in sorted(plan.request.ladder):
        known = _known(here, rival, rung)
        if known:
            losses = tuple(one.ended.loss for one in known if one.ended is not None)
            found.append(Rung(budget_seconds=rung * budget, losses=losses))
    return tuple(found)


def _known(here: Measured, entrant: int, rung: float = 1.0) -> list[Figures]:
    """Returns an entrant's fresh runs at a rung that say something of it, in order of repeat."""
    return [
        one
        for run, one in here
        if (run.entrant, run.stage, run.rung) == (entrant, Stage.PROOF, rung)
        and one.ended is not None
        and one.ended.tells
    ]


def _row(
    plan: PromotionPlan,
    at: int,
    entrant: int,
    chosen: Choice | None,
    here: Measured,
    ladder: Sequence[Rung],
) -> PromotedRow:
    point = plan.points[at]
    one = point.entrants[entrant]
    if not one.shapes:
        return PromotedRow(trial=one.trial, shape="left out", parameters=0, activated_parameters=0)
    shape = one.shapes[chosen.shape if chosen is not None else 0]
    found = PromotedRow(
        trial=one.trial,
        shape=shape.label,
        parameters=parameters(shape.genome, shape.proxy),
        activated_parameters=activated_parameters(shape.genome, shape.proxy),
    )
    if chosen is None:
        return found
    run = PromotedRun(
        point=at, entrant=entrant, shape=chosen.shape, rate=chosen.rate, stage=Stage.PROOF
    )
    planned = planned_run(plan, run)
    known = _known(here, entrant)
    losses = [figures.ended.loss for figures in known if figures.ended is not None]
    values: dict[str, object] = {
        "genome": planned.genome,
        "proxy": planned.proxy,
        "learning_rate": planned.proxy.peak_learning_rate,
        "runs": len(losses),
        "diverged": losses.count(None),
        "losses": tuple(losses),
        **_means(known, found.activated_parameters),
    }
    sound = [loss for loss in losses if loss is not None]
    if sound and len(sound) == len(losses):
        values |= {"loss": mean(sound), "loss_interval": mean_interval(sound)}
    if one.trial is not None:
        values |= _against(losses, ladder, point.budget_seconds)
    return found.model_copy(update=values)


def _means(known: Sequence[Figures], activated: int) -> dict[str, object]:
    times = [one.step_time_ms for one in known if one.step_time_ms]
    tokens = [float(one.tokens) for one in known if one.tokens is not None]
    bits = [one.bits_per_byte for one in known if one.bits_per_byte is not None]
    seen = mean(tokens) if tokens else None
    return {
        "steps_per_second": 1000 / mean(times) if times else None,
        "tokens": seen,
        "tokens_per_parameter": None if seen is None else seen / activated,
        "bits_per_byte": mean(bits) if bits else None,
    }


def _against(
    losses: Sequence[float | None], ladder: Sequence[Rung], budget: float
) -> dict[str, object]:
    """Returns what a block's losses show against the rival's, at equal time and on the ladder."""
    rival = next((one.losses for one in ladder if one.budget_seconds == budget), ())
    known = None not in losses and None not in rival
    gain = None
    if losses and rival and known:
        gain = mean([x for x in rival if x is not None]) - mean(
            [x for x in losses if x is not None]
        )
    return {
        "gain": gain,
        "gain_interval": gain_interval(losses, rival),
        "speedup": effective_speedup(losses, rungs(ladder), budget),
    }


def rungs(ladder: Sequence[Rung]) -> dict[float, tuple[float | None, ...]]:
    """Returns the losses of a ladder by seconds."""
    return {one.budget_seconds: one.losses for one in ladder}


def _compute(rival: PromotedRow) -> float | None:
    if rival.tokens is None or rival.genome is None or rival.proxy is None:
        return None
    return rival.tokens * flops_per_token(rival.genome, rival.proxy)


def _notes(
    plan: PromotionPlan, at: int, chosen: Sequence[Choice | None], here: Measured
) -> list[str]:
    """Returns what to mind at a point whose tuning is over."""
    point, rates = plan.points[at], plan.request.learning_rates
    found = []
    for entrant, one in zip(point.entrants, chosen, strict=True):
        if one is not None and len(rates) > 2 and one.rate in {min(rates), max(rates)}:
            side = "lowest" if one.rate == min(rates) else "highest"
            found.append(f"{entrant.name} does best with the {side} learning rate that was tried")
    rival = point.entrants[-1]
    if chosen[-1] is not None and len(rival.shapes) > 1 and chosen[-1].shape in _edges(plan, at):
        shape = rival.shapes[chosen[-1].shape].label
        found.append(f"the rival's best shape, {shape}, lies on the edge of its family")
    lost = sum(
        one.ended is not None and one.ended.loss is None and not one.ended.diverged
        for _, one in here
    )
    if lost:
        found.append(f"{lost} runs failed for other causes than their block, or were cancelled")
    return found


def _edges(plan: PromotionPlan, at: int) -> set[int]:
    """Returns the members of the rival's family that are its shallowest, deepest or widest ones."""
    shapes = plan.points[at].entrants[-1].shapes
    depths = [one.proxy.blocks * len(one.genome.layers) for one in shapes]
    widths = [one.genome.model_dim for one in shapes]
    found = set()
    for values in (depths, widths):
        if len(set(values)) > 2:
            ends = {min(values), max(values)}
            found |= {index for index, value in enumerate(values) if value in ends}
    return found
