"""What a caller tells of a trial or of the baseline, checked: what is refused is not recorded."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from brainformer.search.errors import InvalidMeasurement
from brainformer.search.trials.reward import PRUNED_FITNESS, Baseline
from brainformer.search.trials.trial import LARGEST, LARGEST_COUNT, TrialStatus

LEAST_REPEATS = 2


@dataclass(frozen=True)
class Evaluation:
    """How a trial ended, checked.

    Attributes:
        status: Completed, pruned or failed.
        fitness: None where it failed.
        step_time_ms: None where it was not told.
        parameters: None where they were not told.
        reason: Why it failed.
    """

    status: TrialStatus
    fitness: float | None = None
    step_time_ms: float | None = None
    parameters: int | None = None
    reason: str = ""

    @property
    def cost_known(self) -> bool:
        """Whether the trial may be a compromise: something of what it costs is known."""
        return self.step_time_ms is not None or self.parameters is not None


def checked_evaluation(
    fitness: float | None,
    *,
    pruned: bool,
    step_time_ms: float | None,
    parameters: int | None,
) -> Evaluation:
    """Returns how a trial ended, in plain numbers.

    Raises:
        InvalidMeasurement: names what is missing, not finite or impossible.
    """
    return Evaluation(
        status=TrialStatus.PRUNED if pruned else TrialStatus.COMPLETED,
        fitness=_fitness(fitness, pruned=pruned),
        step_time_ms=_step_time(step_time_ms),
        parameters=_parameters(parameters),
    )


def checked_baseline(fitnesses: Sequence[float]) -> Baseline:
    """Returns the baseline over its repeats; its loss is the negative mean fitness.

    Raises:
        InvalidMeasurement: fewer than two values, which show no noise, or one that is not finite.
    """
    values = [_fitness(fitness, pruned=False) for fitness in fitnesses]
    if len(values) < LEAST_REPEATS:
        rule = f"a baseline needs at least {LEAST_REPEATS} repeats to show the noise"
        raise InvalidMeasurement(rule, len(values), "/fitnesses")
    return Baseline(
        repeats=len(values),
        validation_loss=-statistics.fmean(values),
        noise=statistics.stdev(values),
    )


def _fitness(fitness: float | None, *, pruned: bool) -> float:
    if fitness is None:
        if pruned:
            return PRUNED_FITNESS
        raise InvalidMeasurement(
            "fitness is missing; give a number or pruned=True", None, "/fitness"
        )
    value = _plain(fitness)
    if value is None:
        raise InvalidMeasurement("fitness must be a finite number", fitness, "/fitness")
    return PRUNED_FITNESS if pruned else value


def _step_time(step_time_ms: float | None) -> float | None:
    if step_time_ms is None:
        return None
    value = _plain(step_time_ms)
    if value is None or value < 0:
        rule = "step_time_ms must be finite and not negative"
        raise InvalidMeasurement(rule, step_time_ms, "/step_time_ms")
    return value


def _parameters(parameters: int | None) -> int | None:
    if parameters is None:
        return None
    try:
        count = index(parameters)
    except TypeError:
        count = -1
    if not 0 <= count <= LARGEST_COUNT:
        rule = f"parameters must be a whole number from 0 to {LARGEST_COUNT}"
        raise InvalidMeasurement(rule, parameters, "/parameters")
    return count


def _plain(value: Any) -> float | None:
    """Returns a number of any library as a float; None if it is none, not finite or too large."""
    if isinstance(value, str):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST else None
