"""Fitness, hurdle and constraints of a trial, relative to the baseline on the same pool.

Fitness is the baseline's mean validation loss minus the trial's, in nats a token; what breaks a
constraint or stays behind at a quarter of the budget gets -1 (arXiv:2306.00008, section 3.4).
Margins are Student's t for one new observation, so that of blocks equal to the baseline one in a
hundred is pruned; with a single repeat no noise is known, and the loss prunes nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brainformer.search.estimates.comparison import margin, standard_deviation
from brainformer.search.spec import SearchSpec
from brainformer.search.trials.lease_messages import GO_ON, Directive
from brainformer.search.trials.trial import CurvePoint, Measurements, Outcome

PRUNED_FITNESS = -1.0
HURDLE_FRACTION = 0.25
REPEAT = "baseline"  # origin of a baseline's run that fitness is relative to


@dataclass(frozen=True)
class Baseline:
    """What a pool's baseline repeats showed; losses in nats a token, times in milliseconds."""

    repeats: int
    validation_loss: float | None = None
    bits_per_byte: float | None = None
    step_time_ms: float | None = None
    inference_time_ms: float | None = None
    noise: float | None = None
    step_time_noise_ms: float | None = None
    hurdle_loss: float | None = None
    hurdle_noise: float | None = None


def summarise(repeats: Sequence[Measurements]) -> Baseline:
    """Returns means and standard deviations over the baseline's completed repeats."""
    losses = _known([one.validation_loss for one in repeats])
    times = _known([one.step_time_ms for one in repeats])
    hurdles = _known([loss_at_hurdle(one.curve) for one in repeats])
    return Baseline(
        repeats=len(repeats),
        validation_loss=_mean(losses),
        bits_per_byte=_mean(_known([one.bits_per_byte for one in repeats])),
        step_time_ms=_mean(times),
        inference_time_ms=_mean(_known([one.inference_time_ms for one in repeats])),
        noise=standard_deviation(losses),
        step_time_noise_ms=standard_deviation(times),
        hurdle_loss=_mean(hurdles),
        hurdle_noise=standard_deviation(hurdles),
    )


def loss_at_hurdle(curve: Sequence[CurvePoint]) -> float | None:
    """Returns the validation loss at a quarter of the budget, interpolated between points.

    A curve without a point on each side gives the first one behind the hurdle, unless that is
    the end of training, which would make the hurdle impossible.
    """
    known = sorted(
        (point.fraction, point.validation_loss)
        for point in curve
        if point.validation_loss is not None
    )
    before = [pair for pair in known if pair[0] <= HURDLE_FRACTION]
    after = [pair for pair in known if pair[0] >= HURDLE_FRACTION]
    if not after:
        return None
    x1, y1 = after[0]
    if not before:
        return y1 if x1 < 2 * HURDLE_FRACTION else None
    x0, y0 = before[-1]
    share = 0.0 if x1 == x0 else (HURDLE_FRACTION - x0) / (x1 - x0)
    return y0 + share * (y1 - y0)


def fitness(baseline: Baseline, measured: Measurements) -> float | None:
    """Returns how many nats a token the trial is better than the baseline."""
    if baseline.validation_loss is None or measured.validation_loss is None:
        return None
    return baseline.validation_loss - measured.validation_loss


def infeasible(
    spec: SearchSpec,
    baseline: Baseline,
    *,
    step_time_ms: float | None,
    inference_time_ms: float | None,
) -> str:
    """Returns which constraint is broken, in words; "" if none is."""
    limit = step_time_limit(spec, baseline)
    if limit is not None and step_time_ms is not None and step_time_ms > limit:
        return f"infeasible: step time {step_time_ms:.4g} ms is above the limit {limit:.4g} ms"
    slack, reference = spec.inference_time_slack, baseline.inference_time_ms
    if slack is None or reference is None or inference_time_ms is None:
        return ""
    limit = reference * (1 + slack)
    if inference_time_ms > limit:
        return (
            f"infeasible: inference time {inference_time_ms:.4g} ms is above the limit "
            f"{limit:.4g} ms"
        )
    return ""


def step_time_limit(spec: SearchSpec, baseline: Baseline) -> float | None:
    """Returns the slowest step allowed, in milliseconds; None without a constraint."""
    if spec.step_time_slack is None or baseline.step_time_ms is None:
        return None
    noise = margin(baseline.repeats, baseline.step_time_noise_ms) or 0.0
    return baseline.step_time_ms * (1 + spec.step_time_slack) + noise


def directive(
    spec: SearchSpec,
    baseline: Baseline,
    point: CurvePoint,
    *,
    judged: bool = False,
    step_time_ms: float | None,
    inference_time_ms: float | None,
) -> Directive:
    """Returns whether a candidate goes on after this point of its learning curve.

    Judged from a quarter of the budget on: the step time is measured well by then. The loss is
    judged once (`judged` says that it was), at the first point behind the hurdle. A later point
    has trained longer than the baseline had, so a late report can only be too kind.
    """
    if point.fraction < HURDLE_FRACTION:
        return GO_ON
    reason = infeasible(
        spec, baseline, step_time_ms=step_time_ms, inference_time_ms=inference_time_ms
    )
    if reason:
        return Directive.stop(Outcome.INFEASIBLE, reason)
    if judged or not spec.hurdle:
        return GO_ON
    if baseline.hurdle_loss is None or point.validation_loss is None:
        return GO_ON
    allowed = margin(baseline.repeats, baseline.hurdle_noise)
    if allowed is None:
        return GO_ON
    limit = baseline.hurdle_loss + allowed
    if point.validation_loss > limit:
        reason = (
            f"hurdle: validation loss {point.validation_loss:.4f} at {point.fraction:.0%} of the "
            f"budget is above the baseline's {limit:.4f}"
        )
        return Directive.stop(Outcome.PRUNED, reason)
    return GO_ON


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
