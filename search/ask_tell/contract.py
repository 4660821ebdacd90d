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
from brainformer.search.cost.runnable import runnable_genome
from brainformer.search.errors import Conflict, InvalidSpec, NotFound
from brainformer.search.estimates.comparison import mean, sample_like, standard_deviation
from brainformer.search.estimates.race import Race, RaceRules, Runs
from brainformer.search.estimates.verdict import Verdict, verdict
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space
from brainformer.search.spec import ASK_TELL_POOL, SearchSpec
from brainformer.search.trials.reward import Baseline
from brainformer.search.trials.trial import TrialKind, TrialStatus, repeat_seed
from brainformer.search.validation import first_problem

ENDLESS = 10_000_000
LARGEST_NUMBER = 2**31 - 1  # of a trial, as SQL keeps it


@dataclass(frozen=True)
class AskedTrial:
    """A genome to evaluate.

    Attributes:
        number: Names the trial in its search.
        kind: "candidate", or "confirmation" for a further evaluation of trial `parent`.
        seed: For the randomness of the evaluation; each candidate has its own. The n-th
            confirmation of every block has `repeat_seed(n)`, as the baseline's n-th repeat should.
        repeat: Of a confirmation: which one of its block it is, from 0.
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
    repeat: int | None = None


@dataclass(frozen=True)
class Standing:
    """One of the best, and how sure that is.

    Attributes:
        number: The candidate's trial number.
        fitness: Of the run that made it one of the best, which flatters and never counts below.
        repeats: Confirmations that were evaluated, those that failed among them.
        failed: Confirmations that failed: a block of which more failed comes later.
        mean_fitness: Over the confirmations that did not fail; None without any.
        deviation: Their sample standard deviation; None for fewer than two.
        confidence: One minus the p-value of "no better than the baseline", corrected for the
            choice among the confirmed; None with fewer than two runs of either.
    """

    number: int
    genome: Genome
    fitness: float
    repeats: int = 0
    failed: int = 0
    mean_fitness: float | None = None
    deviation: float | None = None
    confidence: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether it beats the baseline, as far as the confirmations show."""
        return verdict(self.confidence, runs=self.repeats)


@dataclass(frozen=True)
class Candidate:
    """A completed candidate: the fitness that was told first, and that of its confirmations.

    Attributes:
        fresh: In order of repeat; None for a confirmation that failed.
    """

    number: int
    genome: Genome
    fitness: float
    fresh: Sequence[float | None] = ()


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

    spec: SearchSpec

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

        Of a confirmation this counts as a result: worse than any finite fitness.

        Raises:
            NotFound: no such trial was asked for.
            IllegalTransition: the trial has ended already.
        """
        self._record(trial_number(trial), Evaluation(TrialStatus.FAILED, reason=reason))

    def add_evaluated(
        self,
        genome: Genome,
        fitness: float | None = None,
        *,
        pruned: bool = False,
        step_time_ms: float | None = None,
        parameters: int | None = None,
    ) -> int:
        """Takes in a genome that was evaluated elsewhere, as if it had been asked for and told.

        It is marked as imported, takes no place of a seed, and is not proposed again.

        Args:
            genome: Of the search's space.
            fitness: On the scale of what is told; the rest is as in `tell`.
            pruned: See `tell`.
            step_time_ms: See `tell`.
            parameters: See `tell`.

        Returns:
            The number of the trial that stands for it.

        Raises:
            InvalidGenome: it lies outside the space.
            InvalidMeasurement: see `tell`.
            Conflict: the search has proposed it, or taken it in, already.
        """
        evaluation = checked_evaluation(
            fitness, pruned=pruned, step_time_ms=step_time_ms, parameters=parameters
        )
        runnable_genome(genome, self.spec.resolved_space(), None)
        return self._add_evaluated(genome, evaluation)

    @abstractmethod
    def _add_evaluated(self, genome: Genome, evaluation: Evaluation) -> int:
        """Records a genome and how it was evaluated, or raises Conflict and records nothing."""

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

    def repeat_seed(self, repeat: int) -> int:
        """Returns the seed that the n-th repeat of every block shares, the baseline's too."""
        return repeat_seed(self.spec.seed, repeat)

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
        NotFound: it is not a number that a trial may have.
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


def known_already(genome: Genome) -> Conflict:
    """Returns the refusal of a genome that the search has proposed or taken in before."""
    return Conflict(f"the search knows genome {genome.digest[:12]} already")


def ranked(candidates: Sequence[Candidate], baseline: Baseline) -> list[Standing]:
    """Returns standings, best first: the confirmed by their confirmations, then the others.

    Args:
        candidates: All that may be among the best.
        baseline: What to beat, how often it was repeated and how noisy it is.
    """
    losses = {
        one.number: Runs(ASK_TELL_POOL, [None if f is None else -f for f in one.fresh])
        for one in candidates
        if one.fresh
    }
    level = baseline.validation_loss or 0.0
    rival = sample_like(baseline.repeats, level, baseline.noise)
    race = Race(losses, {ASK_TELL_POOL: rival}, RaceRules(repeats=0, limit=0))
    return sorted((_standing(one, race) for one in candidates), key=_by_confirmations)


def _standing(one: Candidate, race: Race) -> Standing:
    known = [value for value in one.fresh if value is not None]
    p = race.claim(one.number) if one.fresh else None
    return Standing(
        number=one.number,
        genome=one.genome,
        fitness=one.fitness,
        repeats=len(one.fresh),
        failed=len(one.fresh) - len(known),
        mean_fitness=mean(known) if known else None,
        deviation=standard_deviation(known),
        confidence=None if p is None else 1 - p,
    )


def _by_confirmations(one: Standing) -> tuple[bool, bool, float, float, int]:
    """Returns what puts standings in order; one whose confirmations all failed comes last."""
    all_failed = one.repeats > 0 and one.mean_fitness is None
    value = one.fitness if one.mean_fitness is None else one.mean_fitness
    return all_failed, one.repeats == 0, one.failed / max(1, one.repeats), -value, one.number


def by_speed(front: Iterable[Compromise]) -> list[Compromise]:
    """Returns a front in its order: fastest first, those of unknown step time last."""
    worst = float("inf")
    return sorted(
        front,
        key=lambda one: (worst if one.step_time_ms is None else one.step_time_ms, one.number),
    )
