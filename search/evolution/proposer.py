"""Regularized evolution: tournament, the fittest, mutate; the oldest leave (arXiv:1802.01548).

Asynchronous by nature: parents are drawn from what has finished; what is in flight is not tried
again, and the surrogate counts on hearing of it. All randomness comes from the caller's generator,
seeded by (search seed, trial number), so the same results in the same order give the same search,
after a restart too.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from itertools import islice
from random import Random
from typing import NamedTuple

import numpy as np

from brainformer.search.evolution.mutation import Step, mutated
from brainformer.search.evolution.pareto import rank_by_dominance
from brainformer.search.evolution.random_search import untried_genome
from brainformer.search.space.coded_genome import Alphabet, Coded
from brainformer.search.space.space import Dice
from brainformer.search.spec import SearchSpec, genome_at
from brainformer.search.surrogate.screening import (
    MEMORY,
    Look,
    Surrogate,
    one_thread,
)
from brainformer.search.trials.history import History, Observation, Proposal

CHILDREN = 28  # mutated children that the surrogate looks at first
GENERATIONS = 4  # of grandchildren, each of the children that it expects most of
HEIRS, THEIR_CHILDREN = 6, 4  # children that have children, and how many each
RESTART = 0.5  # chance that the next child starts from a parent, not from the last child
WINNERS = 4  # tournaments whose winners are the children's parents
ELITE = 3  # the fittest of the surrogate's window, parents too
WANDERERS = 12  # random genomes among the children
MOST_IN_FLIGHT = 100  # candidates without a result, the last ones, that the surrogate hears of
MOST_TOKENS = 50_000  # sub-layers that a search in a large space keeps described
SAMPLE = 16  # random genomes and seeds before the surrogate may choose
FIRST = 10  # results that it needs, where many are in flight
BATCHES = 4  # of children, each farther from the parents, before any genome will do
TRIES = 8  # children at each distance, where nothing is screened
FARTHEST = 8  # mutations from a parent, where nothing is screened


class _Child(NamedTuple):
    """A genome that may be proposed, where it comes from, and the steps from there."""

    coded: Coded
    origin: str
    parent: int | None = None
    steps: tuple[Step, ...] = ()


class Proposer:
    """Proposes the next genome of one search from its history."""

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        self.space = spec.resolved_space()
        self.seeds = [
            genome_at(f"/seeds/{index}", seed, self.space, None)
            for index, seed in enumerate(spec.seeds)
        ]
        self._forget()

    def _forget(self) -> None:
        """Starts anew with what the proposer has learned and would find out again."""
        self._alphabet = Alphabet(self.space)
        self._surrogate = Surrogate(self._alphabet)

    def propose(self, history: History, *, rng: np.random.Generator) -> Proposal:
        """Returns a genome that was never proposed in this search.

        Args:
            history: What has been proposed and has finished.
            rng: `default_rng([search seed, trial number])`.

        Raises:
            SpaceExhausted: every genome within reach has been tried.
        """
        if len(self._alphabet) > MOST_TOKENS:
            self._forget()
        proposed = history.proposed()
        if proposed < len(self.seeds):
            seed = self.seeds[proposed]
            if not history.tried([seed.digest]):
                return Proposal(seed, "seed")
        finished = history.finished()
        if self.spec.algorithm == "random" or not finished:
            return self._random(history, rng)
        if self._screens and finished >= FIRST and proposed >= SAMPLE:
            return self._screened(history, rng)
        if proposed < max(self.spec.population_size, len(self.seeds)):
            return self._random(history, rng)
        return self._mutated(history, rng)

    @property
    def _screens(self) -> bool:
        wanted = self.spec.screening.kind == "gaussian_process"
        return wanted and self.spec.algorithm == "regularized_evolution"

    def _random(self, history: History, rng: np.random.Generator) -> Proposal:
        return Proposal(untried_genome(self.space, history, rng=rng), "random")

    def _mutated(self, history: History, rng: np.random.Generator) -> Proposal:
        population = history.population(self.spec.population_size)
        for attempt in range(TRIES * FARTHEST):  # where all that is near is known, look farther
            child = self._child(self._tournament(population, rng), attempt // TRIES + 1, rng)
            if child is not None:
                proposal = self._proposal(child)
                if not history.tried([proposal.genome.digest]):
                    return proposal
        return self._random(history, rng)

    def _screened(self, history: History, rng: np.random.Generator) -> Proposal:
        """Returns the untried child that the surrogate likes best."""
        window = history.recent(MEMORY)
        in_flight = [self._alphabet.code(one) for one in history.in_flight(MOST_IN_FLIGHT)]
        noise = history.noise()
        dice = Random(int(rng.integers(2**62)))  # noqa: S311
        with one_thread():
            for batch in range(BATCHES):
                look = self._surrogate.look(window, in_flight, noise=noise, rng=rng)
                parents = self._parents(history, window, dice)
                seen = self._seen(look, self._children(parents, batch + 1, dice), dice)
                for index in look.choose():
                    proposal = self._proposal(seen[index])
                    if not history.tried([proposal.genome.digest]):
                        return proposal
        return self._random(history, rng)

    def _seen(self, look: Look, children: dict[Coded, _Child], dice: Dice) -> list[_Child]:
        """Returns the children and further generations, all of them seen by the look."""
        newest = list(children.values())
        liked = look.see(list(children))
        for _ in range(GENERATIONS):
            known = len(children)
            for parent in liked[:HEIRS]:
                for _ in range(THEIR_CHILDREN):
                    heir = self._further(newest[parent], dice)
                    if heir is not None:
                        children.setdefault(heir.coded, heir)
            newest = list(islice(children.values(), known, None))
            liked = look.see([heir.coded for heir in newest])
        return list(children.values())

    def _further(self, child: _Child, dice: Dice) -> _Child | None:
        """Returns a genome one step beyond a child; None if no operator can act.

        It is told as what was done to its parent, and then to it.
        """
        step = mutated(child.coded, self._alphabet, rng=dice)
        if step is None:
            return None
        return _Child(step.coded, child.origin, child.parent, (*child.steps, step))

    def _parents(
        self, history: History, window: Sequence[Observation], dice: Random
    ) -> list[Observation]:
        """Returns tournament winners and the fittest."""
        population = history.population(self.spec.population_size)
        size = min(self.spec.tournament_size, len(population))
        tournaments = [dice.sample(population, size) for _ in range(WINNERS)]
        winners = [self._winner(picks) for picks in tournaments]
        return winners + nlargest(ELITE, window, key=_rank)

    def _children(
        self, parents: Sequence[Observation], steps: int, dice: Dice
    ) -> dict[Coded, _Child]:
        """Returns distinct children of the parents, and wanderers."""
        children: dict[Coded, _Child] = {}
        for index in range(CHILDREN):
            if index == 0 or dice.random() < RESTART:
                walk = self._child(parents[index % len(parents)], steps, dice)
            elif walk is not None:
                walk = self._further(walk, dice)
            if walk is not None:
                children.setdefault(walk.coded, walk)
        for _ in range(WANDERERS):
            coded = self._alphabet.sample(rng=dice)
            children.setdefault(coded, _Child(coded, "random"))
        return children

    def _child(self, parent: Observation, steps: int, dice: Dice) -> _Child | None:
        """Returns a genome some steps away; None if no operator can act on the parent."""
        first = child = _Child(self._alphabet.code(parent.genome), "mutation", parent.number)
        for _ in range(steps):
            further = self._further(child, dice)
            if further is None:
                return None
            child = further
        if child.coded == first.coded:  # steps that undo each other
            return self._child(parent, 1, dice)
        return child

    def _proposal(self, child: _Child) -> Proposal:
        told = "; ".join([step.description for step in child.steps])
        return Proposal(self._alphabet.genome(child.coded), child.origin, child.parent, told)

    def _tournament(
        self, population: Sequence[Observation], rng: np.random.Generator
    ) -> Observation:
        size = min(self.spec.tournament_size, len(population))
        drawn = rng.choice(len(population), size, replace=False)
        return self._winner([population[int(i)] for i in drawn])

    def _winner(self, picks: Sequence[Observation]) -> Observation:
        if self.spec.algorithm == "nsga2":
            return picks[int(np.argmin(rank_by_dominance(picks)))]
        return max(picks, key=_rank)


def _rank(seen: Observation) -> tuple[bool, float]:
    """Returns what orders candidates: any that completed before any that was pruned."""
    return not seen.pruned, seen.fitness
