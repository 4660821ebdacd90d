"""Ask and tell: our evolution with anybody's evaluator, in memory or in SQL.

    search = MemorySearch(ask_tell_spec(space, seed=1))
    trial = search.ask()
    search.tell(trial, fitness=evaluate(trial.genome))

Any number of trials may be in flight and may be told in any order. What is told is checked first: a
refused call records nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from pydantic import ValidationError

from brainformer.search.ask_tell.evaluation import Evaluation, checked_baseline, checked_evaluation
from brainformer.search.errors import InvalidSpec, NotFound
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space
from brainformer.search.spec import ASK_TELL_POOL, SearchSpec
from brainformer.search.trials.reward import Baseline, confidence
from brainformer.search.trials.trial import TrialKind, TrialStatus
from brainformer.search.validation import first_problem

ENDLESS = 10_000_000
LARGEST_NUMBER = 2**31 - 1  # of a trial, as SQL keeps it


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


@dataclass(frozen=True)
class Compromise:
    """A candidate on the Pareto front: no other beats it in fitness, step time and parameters.

    Attributes:
        number: The candidate's trial number.
        step_time_ms: As it was told; None, the worst, where it was not.
        parameters: As they were told, else counted from the genome and the spec's proxy.
    """

    number: int
    genome: Genome
    fitness: float
    step_time_ms: float | None
    parameters: int


class AskTell(ABC):
    """A search that is driven by its caller. Fitness is to be maximised, on any scale."""

    @abstractmethod
    def ask(self) -> AskedTrial:
        """Returns the next trial: a confirmation that `confirm` queued, or a new genome.

        Raises:
            SpaceExhausted: every genome within reach has been tried.
        """

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
            parameters: For the same; counted from the genome where they are not given.

        Raises:
            InvalidMeasurement: fitness is missing, NaN or infinite, or a cost cannot be.
            NotFound: no such trial was asked for.
            IllegalTransition: the trial has ended already.
        """
        evaluation = checked_evaluation(
            fitness, pruned=pruned, step_time_ms=step_time_ms, parameters=parameters
        )
        self._record(trial_number(trial), evaluation)

    def fail(self, trial: AskedTrial | int, reason: str = "") -> None:
        """Ends a trial that could not be evaluated; its genome is not proposed again.

        Raises:
            NotFound: no such trial was asked for.
            IllegalTransition: the trial has ended already.
        """
        self._record(trial_number(trial), Evaluation(TrialStatus.FAILED, reason=reason))

    @abstractmethod
    def _record(self, number: int, evaluation: Evaluation) -> None:
        """Records how a trial ended, or raises as `tell` does and records nothing."""

    @abstractmethod
    def pending(self) -> list[AskedTrial]:
        """Returns the trials that were asked for and not yet told, oldest first."""

    def tell_baseline(self, fitnesses: Sequence[float]) -> None:
        """States the baseline's fitness over repeats: what to beat, and how noisy it is.

        Raises:
            InvalidMeasurement: fewer than two values, or one that is not finite.
        """
        self._set_baseline(checked_baseline(fitnesses))

    @abstractmethod
    def _set_baseline(self, baseline: Baseline) -> None:
        """Records what to beat."""

    @abstractmethod
    def confirm(self, count: int = 3, *, repeats: int = 2) -> int:
        """Has the best `count` candidates evaluated again; returns how many trials that makes."""

    @abstractmethod
    def best(self, count: int = 1) -> list[Standing]:
        """Returns the best candidates, confirmed ones first, then by mean fitness."""

    @abstractmethod
    def pareto(self) -> list[Compromise]:
        """Returns the front of completed candidates, fastest first; of equals, the first told.

        A candidate of whose cost nothing was told is not on it.
        """


def ask_tell_spec(space: Space | str, **options: Any) -> SearchSpec:
    """Returns the spec of a search that no dispatcher works on.

    Args:
        space: A space or the name of a preset.
        options: Fields of `SearchSpec`: `seed`, `seeds`, `algorithm`, `screening`,
            `population_size`, `tournament_size`, `name` ...

    Raises:
        InvalidSpec: names the first option that breaks a rule.
    """
    base: dict[str, Any] = {
        "name": ASK_TELL_POOL,
        "limits": {"trials": ENDLESS},
        "pools": (ASK_TELL_POOL,),
    }
    given = {**base, "space": space, **options}
    try:
        return SearchSpec.model_validate(given)
    except ValidationError as error:
        raise InvalidSpec(*first_problem(error, given)) from None


def trial_number(trial: AskedTrial | int) -> int:
    """Returns the number by which a trial is named.

    Raises:
        NotFound: it is no number that a trial may have.
    """
    if isinstance(trial, AskedTrial):
        return trial.number
    try:
        number = index(trial)
    except TypeError:
        number = -1
    if not 0 <= number <= LARGEST_NUMBER:
        raise NotFound("trial", trial)
    return number


def ranked(
    candidates: Sequence[tuple[int, Genome, Sequence[float]]], baseline: Baseline
) -> list[Standing]:
    """Returns standings, best first.

    Args:
        candidates: Number, genome and fitness values of each, its own value first.
        baseline: What to beat, how often it was repeated and how noisy it is.
    """
    level = -(baseline.validation_loss or 0.0)
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


def by_speed(front: Iterable[Compromise]) -> list[Compromise]:
    """Returns a front in its order: fastest first, those of unknown step time last."""
    worst = float("inf")
    return sorted(
        front,
        key=lambda one: (worst if one.step_time_ms is None else one.step_time_ms, one.number),
    )
