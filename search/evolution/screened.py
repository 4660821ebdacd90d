"""Screening: of many mutated children, the one that the surrogate would rather see evaluated.

Parents have children; those that the surrogate expects most of have children in turn, for a few
generations; of all genomes looked at, the most promising untried one is proposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from itertools import islice
from random import Random

import numpy as np

from brainformer.search.evolution.breeding import (
    Child,
    child_of,
    mutated_child,
    proposal_of,
    random_child,
)
from brainformer.search.evolution.effort import Effort
from brainformer.search.evolution.tournament import fitness_order, winner
from brainformer.search.space.coded_genome import CodedGenome, GenomeCoder
from brainformer.search.spec import SearchSpec
from brainformer.search.surrogate.screening import MOST_OBSERVATIONS, Look, Surrogate, one_thread
from brainformer.search.trials.history import History, Observation, Proposal


class ScreenedBreeding:
    """Breeds many children and lets the surrogate choose."""

    def __init__(self, spec: SearchSpec, coder: GenomeCoder, effort: Effort) -> None:
        self._spec = spec
        self._coder = coder
        self._effort = effort
        self._surrogate = Surrogate(coder)

    def propose(self, history: History, *, rng: np.random.Generator) -> Proposal | None:
        """Returns the untried genome that the surrogate likes best.

        Where all that it likes has been tried it looks farther; None if that was in vain.
        """
        results = history.recent(MOST_OBSERVATIONS)
        open_genomes = history.in_flight(self._effort.most_in_flight)
        in_flight = [self._coder.encode(genome) for genome in open_genomes]
        noise = history.noise()
        dice = Random(int(rng.integers(2**62)))  # noqa: S311
        with one_thread():
            for distance in range(1, self._effort.batches + 1):
                look = self._surrogate.look(results, in_flight, noise=noise, rng=rng)
                parents = self._parents(history, results, dice)
                children = self._children(parents, distance, dice)
                bred = self._generations(children, look, dice)
                proposal = self._choice(bred, look, history)
                if proposal is not None:
                    return proposal
        return None

    def _parents(
        self, history: History, results: Sequence[Observation], dice: Random
    ) -> list[Observation]:
        """Returns tournament winners and the fittest."""
        population = history.population(self._spec.population_size)
        size = min(self._spec.tournament_size, len(population))
        drawn = [dice.sample(population, size) for _ in range(self._effort.tournaments)]
        winners = [winner(picks, self._spec) for picks in drawn]
        return winners + nlargest(self._effort.elite, results, key=fitness_order)

    def _children(
        self, parents: Sequence[Observation], distance: int, dice: Random
    ) -> dict[CodedGenome, Child]:
        """Returns distinct children, at this distance from their parents and beyond, and wanderers.

        Args:
            parents: Each is begun from in turn.
            distance: Mutations between a parent and the first of its children.
            dice: Draws.
        """
        children: dict[CodedGenome, Child] = {}
        child: Child | None = None
        for index in range(self._effort.children):
            if index == 0 or dice.random() < self._effort.restart_chance:
                parent = parents[index % len(parents)]
                child = child_of(parent, distance, self._coder, rng=dice)
            elif child is not None:
                child = mutated_child(child, self._coder, rng=dice)
            if child is not None:
                children.setdefault(child.coded, child)
        for _ in range(self._effort.wanderers):
            wanderer = random_child(self._coder, rng=dice)
            children.setdefault(wanderer.coded, wanderer)
        return children

    def _generations(
        self, children: dict[CodedGenome, Child], look: Look, dice: Random
    ) -> list[Child]:
        """Returns the children and their descendants, all of them seen by the look, in its order.

        Of each generation those that the surrogate expects most of have children.
        """
        newest = list(children.values())
        liked = look.see(list(children))
        for _ in range(self._effort.generations):
            known = len(children)
            for index in liked[: self._effort.heirs]:
                for _ in range(self._effort.children_per_heir):
                    heir = mutated_child(newest[index], self._coder, rng=dice)
                    if heir is not None:
                        children.setdefault(heir.coded, heir)
            newest = list(islice(children.values(), known, None))
            liked = look.see([heir.coded for heir in newest])
        return list(children.values())

    def _choice(self, bred: list[Child], look: Look, history: History) -> Proposal | None:
        """Returns the most promising genome that was never proposed, None if there is none."""
        for index in look.choose():
            proposal = proposal_of(bred[index], self._coder)
            if not history.tried([proposal.genome.digest]):
                return proposal
        return None
