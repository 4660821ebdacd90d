"""A search in memory, driven by its caller through ask and tell."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from typing_extensions import override

from brainformer.search.ask_tell.contract import (
    AskedTrial,
    AskTell,
    Candidate,
    Compromise,
    Standing,
    by_speed,
    known_already,
    ranked,
)
from brainformer.search.ask_tell.evaluation import Evaluation
from brainformer.search.ask_tell.memory_history import MemoryHistory
from brainformer.search.cost.cost import parameters
from brainformer.search.errors import IllegalTransition, NotFound
from brainformer.search.evolution.pareto import ParetoArchive
from brainformer.search.evolution.proposer import Proposer
from brainformer.search.space.genome import Genome
from brainformer.search.spec import SearchSpec
from brainformer.search.trials.history import Observation, Proposal
from brainformer.search.trials.reward import Baseline
from brainformer.search.trials.trial import TrialKind, TrialStatus, training_seed


@dataclass
class _Candidate:
    """A completed candidate: its own fitness, and that of its confirmations."""

    genome: Genome
    fitness: float
    fresh: list[float | None] = field(default_factory=list)
    asked: int = 0


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
        self._to_confirm: list[int] = []
        self._baseline = Baseline(repeats=0)
        self._archive = ParetoArchive()

    @override
    def ask(self) -> AskedTrial:
        if self._to_confirm:
            parent = self._to_confirm.pop(0)
            candidate = self._candidates[parent]
            again = Proposal(candidate.genome, "confirmation", parent)
            candidate.asked += 1
            return self._opened(again, TrialKind.CONFIRMATION, repeat=candidate.asked - 1)
        rng = np.random.default_rng([self.spec.seed, self._next_number])
        proposal = self._proposer.propose(self._history, rng=rng)
        self._history.add_proposed(self._next_number, proposal.genome)
        return self._opened(proposal, TrialKind.CANDIDATE)

    def _opened(
        self, proposal: Proposal, kind: TrialKind, *, repeat: int | None = None
    ) -> AskedTrial:
        number = self._next_number
        self._next_number += 1
        self._open[number] = AskedTrial(
            number=number,
            genome=proposal.genome,
            kind=kind,
            seed=training_seed(self.spec.seed, number)
            if repeat is None
            else self.repeat_seed(repeat),
            origin=proposal.origin,
            parent=proposal.parent,
            mutation=proposal.mutation,
            repeat=repeat,
        )
        return self._open[number]

    @override
    def _record(self, number: int, evaluation: Evaluation) -> None:
        asked = self._held(number, evaluation.status)
        if asked.kind is TrialKind.CONFIRMATION:
            completed = evaluation.status is TrialStatus.COMPLETED
            fresh = self._candidates[asked.parent if asked.parent is not None else -1].fresh
            fresh.append(evaluation.fitness if completed else None)
        elif evaluation.fitness is not None:
            self._keep(asked, evaluation, evaluation.fitness)
        else:
            self._history.drop(number)
        del self._open[number]
        self._ended[number] = evaluation.status

    @override
    def _add_evaluated(self, genome: Genome, evaluation: Evaluation) -> int:
        if self._history.tried([genome.digest]):
            raise known_already(genome)
        number = self._next_number
        self._history.add_imported(number, genome)
        self._opened(Proposal(genome, "imported"), TrialKind.CANDIDATE)
        self._record(number, evaluation)
        return number

    def _held(self, number: int, wanted: TrialStatus) -> AskedTrial:
        if number in self._ended:
            raise IllegalTransition("trial", number, self._ended[number].value, wanted.value)
        if number not in self._open:
            raise NotFound("trial", number)
        return self._open[number]

    def _keep(self, asked: AskedTrial, evaluation: Evaluation, fitness: float) -> None:
        seen = self._observed(asked, evaluation, fitness)
        if evaluation.cost_known:
            self._archive.add(seen)
        if evaluation.status is TrialStatus.COMPLETED:
            self._candidates[asked.number] = _Candidate(asked.genome, fitness)

    def _observed(self, asked: AskedTrial, evaluation: Evaluation, fitness: float) -> Observation:
        counted = evaluation.parameters
        return self._history.add_finished(
            asked.number,
            asked.genome,
            fitness,
            pruned=evaluation.status is TrialStatus.PRUNED,
            step_time_ms=evaluation.step_time_ms,
            parameters=parameters(asked.genome, self.spec.proxy) if counted is None else counted,
        )

    @override
    def pending(self) -> list[AskedTrial]:
        return list(self._open.values())

    @override
    def _set_baseline(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self._history.set_noise(baseline.noise)

    @override
    def confirm(self, count: int = 3, *, repeats: int = 2) -> int:
        chosen = [one.number for one in self._fittest(count) for _ in range(repeats)]
        self._to_confirm += chosen
        return len(chosen)

    @override
    def best(self, count: int = 1) -> list[Standing]:
        found = [
            Candidate(number, one.genome, one.fitness, one.fresh)
            for number, one in self._candidates.items()
        ]
        return ranked(found, self._baseline)[: max(0, count)]

    @override
    def pareto(self) -> list[Compromise]:
        return by_speed(
            Compromise(
                number=seen.number,
                genome=seen.genome,
                fitness=seen.fitness,
                step_time_ms=seen.step_time_ms,
                parameters=seen.parameters or 0,
            )
            for seen in self._archive.members
        )

    def _fittest(self, count: int) -> list[Standing]:
        found = [
            Candidate(number, one.genome, one.fitness) for number, one in self._candidates.items()
        ]
        return ranked(found, self._baseline)[: max(0, count)]
