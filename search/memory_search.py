"""A search in memory, driven by its caller through ask and tell."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from search.ask_tell import (
    AskedTrial,
    AskTell,
    Standing,
    check_baseline,
    check_fitness,
    check_times,
    ranked,
    trial_number,
)
from search.errors import IllegalTransition, NotFound
from search.evolution import Proposer
from search.genome import Genome
from search.history import Proposal
from search.memory import MemoryHistory
from search.reward import PRUNED_FITNESS, Baseline
from search.spec import SearchSpec
from search.trial import TrialKind, TrialStatus, training_seed


@dataclass
class _Candidate:
    """A completed candidate and its fitness over the trial and its confirmations."""

    genome: Genome
    values: list[float] = field(default_factory=list)


class MemorySearch(AskTell):
    """Keeps everything in this process; ends with it."""

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        self._proposer = Proposer(spec)
        self._history = MemoryHistory()
        self._next_number = 0
        self._open: dict[int, AskedTrial] = {}
        self._ended: dict[int, TrialStatus] = {}
        self._candidates: dict[int, _Candidate] = {}
        self._wished: list[int] = []
        self._baseline = Baseline(repeats=0)
        self._level = 0.0

    def ask(self) -> AskedTrial:
        """Returns the next trial: a confirmation that was wished for, or a new genome."""
        if self._wished:
            parent = self._wished.pop(0)
            again = Proposal(self._candidates[parent].genome, "confirmation", parent)
            return self._opened(again, TrialKind.CONFIRMATION)
        rng = np.random.default_rng([self.spec.seed, self._next_number])
        proposal = self._proposer.propose(self._history, rng=rng)
        self._history.add_proposed(proposal.genome)
        return self._opened(proposal, TrialKind.CANDIDATE)

    def _opened(self, proposal: Proposal, kind: TrialKind) -> AskedTrial:
        number = self._next_number
        self._next_number += 1
        self._open[number] = AskedTrial(
            number=number,
            genome=proposal.genome,
            kind=kind,
            seed=training_seed(self.spec.seed, number),
            origin=proposal.origin,
            parent=proposal.parent,
            mutation=proposal.mutation,
        )
        return self._open[number]

    def tell(
        self,
        trial: AskedTrial | int,
        fitness: float | None = None,
        *,
        pruned: bool = False,
        step_time_ms: float | None = None,
        parameters: int | None = None,
    ) -> None:
        """Records how a trial ended."""
        check_fitness(fitness, pruned=pruned)
        check_times(step_time_ms, parameters)
        status = TrialStatus.PRUNED if pruned else TrialStatus.COMPLETED
        asked = self._held(trial, status)
        value = PRUNED_FITNESS if pruned or fitness is None else float(fitness)
        if asked.kind is TrialKind.CANDIDATE:
            self._history.add_finished(
                asked.number,
                asked.genome,
                value,
                pruned=pruned,
                step_time_ms=step_time_ms,
                parameters=parameters,
            )
        if not pruned:
            repeated = asked.parent if asked.kind is TrialKind.CONFIRMATION else None
            named = asked.number if repeated is None else repeated
            self._candidates.setdefault(named, _Candidate(asked.genome)).values.append(value)
        self._close(asked.number, status)

    def fail(self, trial: AskedTrial | int, reason: str = "") -> None:  # noqa: ARG002 (SQL keeps it)
        """Ends a trial that could not be evaluated; its genome is not proposed again."""
        self._close(self._held(trial, TrialStatus.FAILED).number, TrialStatus.FAILED)

    def _held(self, trial: AskedTrial | int, wanted: TrialStatus) -> AskedTrial:
        number = trial_number(trial)
        if number in self._ended:
            raise IllegalTransition("trial", number, self._ended[number].value, wanted.value)
        if number not in self._open:
            raise NotFound("trial", number)
        return self._open[number]

    def _close(self, number: int, status: TrialStatus) -> None:
        del self._open[number]
        self._ended[number] = status

    def pending(self) -> list[AskedTrial]:
        """Returns the trials that were asked for and not yet told, oldest first."""
        return list(self._open.values())

    def tell_baseline(self, fitnesses: Sequence[float]) -> None:
        """States the baseline's fitness over repeats: what to beat, and how noisy it is."""
        check_baseline(fitnesses)
        noise = statistics.stdev(fitnesses)
        self._level = statistics.fmean(fitnesses)
        self._baseline = Baseline(repeats=len(fitnesses), noise=noise)
        self._history.set_noise(noise)

    def confirm(self, count: int = 3, *, repeats: int = 2) -> int:
        """Has the best `count` candidates evaluated again; returns how many trials that makes."""
        wished = [one.number for one in self._fittest(count) for _ in range(repeats)]
        self._wished += wished
        return len(wished)

    def best(self, count: int = 1) -> list[Standing]:
        """Returns the best candidates, confirmed ones first, then by mean fitness."""
        rows = [(n, one.genome, one.values) for n, one in self._candidates.items()]
        return ranked(rows, self._baseline, self._level)[:count]

    def _fittest(self, count: int) -> list[Standing]:
        rows = [(n, one.genome, one.values[:1]) for n, one in self._candidates.items()]
        return ranked(rows, self._baseline, self._level)[:count]
