"""Ask and tell: our evolution with anybody's evaluator, in memory or in SQL.

    search = MemorySearch(ask_tell_spec(space, seed=1))
    trial = search.ask()
    search.tell(trial, fitness=evaluate(trial.genome))

Any number of trials may be in flight and may be told in any order. What is told is checked first: a
refused call records nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from search.errors import InvalidMeasurement, InvalidSpec
from search.genome import Genome
from search.reward import Baseline, confidence
from search.space import Space
from search.spec import SearchSpec
from search.trial import LARGEST, TrialKind

POOL = "ask-tell"
ENDLESS = 10_000_000
LEAST_REPEATS = 2


@dataclass(frozen=True)
class AskedTrial:
    """A genome to evaluate.

    Attributes:
        number: Names the trial in its search.
        kind: "candidate", or "confirmation" for a further evaluation of trial `parent`.
        seed: For the randomness of the evaluation; each trial has its own.
        origin: "seed", "random", "mutation" or "confirmation".
        parent: Number of the parent trial, if there is one.
        mutation: What was done to the parent, in one readable phrase.
    """

    number: int
    genome: Genome
    kind: TrialKind
    seed: int
    origin: str
    parent: int | None = None
    mutation: str = ""


@dataclass(frozen=True)
class Standing:
    """One of the best, and how sure that is.

    Attributes:
        number: The candidate's trial number.
        mean_fitness: Over the candidate and its confirmations.
        repeats: How many evaluations that mean is over.
        confidence: Probability that its true fitness is above the baseline's; None while the
            noise is unknown.
    """

    number: int
    genome: Genome
    mean_fitness: float
    repeats: int
    confidence: float | None


class AskTell(ABC):
    """A search that is driven by its caller. Fitness is to be maximised, on any scale."""

    @abstractmethod
    def ask(self) -> AskedTrial:
        """Returns the next trial: a confirmation that was wished for, or a new genome.

        Raises:
            SpaceExhausted: every genome within reach has been tried.
        """

    @abstractmethod
    def tell(
        self,
        trial: AskedTrial | int,
        fitness: float | None = None,
        *,
        pruned: bool = False,
        step_time_ms: float | None = None,
        parameters: int | None = None,
    ) -> None:
        """Records how a trial ended.

        Args:
            trial: What `ask` returned, or its number.
            fitness: Finite, higher is better; needed unless pruned.
            pruned: The genome breaks a constraint or was given up: worse than all that completed.
            step_time_ms: For the choice by several objectives.
            parameters: For the same.

        Raises:
            InvalidMeasurement: fitness is missing, NaN or infinite.
            NotFound: no such trial was asked for.
            IllegalTransition: the trial has ended already.
        """

    @abstractmethod
    def fail(self, trial: AskedTrial | int, reason: str = "") -> None:
        """Ends a trial that could not be evaluated; its genome is not proposed again.

        Raises:
            NotFound: no such trial was asked for.
            IllegalTransition: the trial has ended already.
        """

    @abstractmethod
    def pending(self) -> list[AskedTrial]:
        """Returns the trials that were asked for and not yet told, oldest first."""

    @abstractmethod
    def tell_baseline(self, fitnesses: Sequence[float]) -> None:
        """States the baseline's fitness over repeats: what to beat, and how noisy it is.

        Raises:
            InvalidMeasurement: fewer than two values, or one that is not finite.
        """

    @abstractmethod
    def confirm(self, count: int = 3, *, repeats: int = 2) -> int:
        """Has the best `count` candidates evaluated again; returns how many trials that makes."""

    @abstractmethod
    def best(self, count: int = 1) -> list[Standing]:
        """Returns the best candidates, confirmed ones first, then by mean fitness."""


def ask_tell_spec(space: Space | str, **options: Any) -> SearchSpec:
    """Returns the spec of a search that no dispatcher works on.

    Args:
        space: A space or the name of a preset.
        options: Fields of `SearchSpec`: `seed`, `seeds`, `algorithm`, `screening`,
            `population_size`, `tournament_size`, `name` ...

    Raises:
        InvalidSpec: names the first option that breaks a rule.
    """
    base: dict[str, Any] = {"name": POOL, "limits": {"trials": ENDLESS}, "pools": (POOL,)}
    try:
        return SearchSpec.model_validate({**base, "space": space, **options})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidSpec(first["msg"], pointer="/" + "/".join(map(str, first["loc"]))) from None


def trial_number(trial: AskedTrial | int) -> int:
    """Returns the number by which a trial is named."""
    return trial.number if isinstance(trial, AskedTrial) else trial


def check_fitness(fitness: float | None, *, pruned: bool) -> None:
    """Refuses what cannot be compared.

    Raises:
        InvalidMeasurement: fitness is missing, NaN or infinite.
    """
    if pruned and fitness is None:
        return
    if fitness is None:
        raise InvalidMeasurement(
            "fitness is missing; give a number or pruned=True", None, "/fitness"
        )
    if not (math.isfinite(fitness) and abs(fitness) <= LARGEST):
        raise InvalidMeasurement("fitness must be a finite number", fitness, "/fitness")


def check_times(step_time_ms: float | None, parameters: int | None) -> None:
    """Refuses a step time or a number of parameters that cannot be.

    Raises:
        InvalidMeasurement: names the one.
    """
    for name, value in (("step_time_ms", step_time_ms), ("parameters", parameters)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidMeasurement(f"{name} must be finite and not negative", value, f"/{name}")


def check_baseline(fitnesses: Sequence[float]) -> None:
    """Refuses repeats that show no noise.

    Raises:
        InvalidMeasurement: fewer than two values, or one that is not finite.
    """
    for fitness in fitnesses:
        check_fitness(fitness, pruned=False)
    if len(fitnesses) < LEAST_REPEATS:
        rule = f"a baseline needs at least {LEAST_REPEATS} repeats to show the noise"
        raise InvalidMeasurement(rule, len(fitnesses), "/fitnesses")


def ranked(
    candidates: Sequence[tuple[int, Genome, Sequence[float]]], baseline: Baseline, level: float
) -> list[Standing]:
    """Returns standings, best first.

    Args:
        candidates: Number, genome and fitness values of each, its own value first.
        baseline: How often the baseline was repeated and how noisy it is.
        level: The baseline's mean fitness.
    """
    found = [
        Standing(
            number=number,
            genome=genome,
            mean_fitness=sum(values) / len(values),
            repeats=len(values),
            confidence=confidence([value - level for value in values], baseline),
        )
        for number, genome, values in candidates
    ]
    return sorted(found, key=lambda one: (one.repeats == 1, -one.mean_fitness, one.number))
