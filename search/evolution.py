"""Regularized evolution: tournament, the fittest, mutate; the oldest leave (arXiv:1802.01548).

Asynchronous by nature: parents are drawn from what has finished; what is in flight is not tried
again, and the surrogate counts on hearing of it. All randomness comes from the caller's generator,
seeded by (search seed, trial number), so the same results in the same order give the same search,
after a restart too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from heapq import nlargest
from itertools import islice

import numpy as np

from search.errors import InvalidSpec
from search.genome import Genome
from search.history import History, Observation, Proposal
from search.multi_objective import rank_by_dominance
from search.mutation import mutate
from search.random_search import untried_genome
from search.space import Space
from search.spec import SearchSpec
from search.surrogate import MEMORY, Surrogate
from search.zoo import zoo_genome

CHILDREN = 28  # mutated children that the surrogate looks at first
GENERATIONS = 4  # of grandchildren, each of the children that it expects most of
HEIRS, THEIR_CHILDREN = 6, 4  # children that have children, and how many each
RESTART = 0.5  # chance that the next child starts from a parent, not from the last child
WINNERS = 4  # tournaments whose winners are the children's parents
ELITE = 3  # the fittest of the surrogate's window, parents too
WANDERERS = 12  # random genomes among the children
MOST_IN_FLIGHT = 100  # candidates without a result, the last ones, that the surrogate hears of
FIRST = 10  # results before the surrogate may choose
BATCHES = 4  # of children, each farther from the parents, before any genome will do
TRIES = 8  # children at each distance, where nothing is screened
FARTHEST = 8  # mutations from a parent, where nothing is screened


class Proposer:
    """Proposes the next genome of one search from its history."""

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        self.space = spec.resolved_space()
        self.seeds = [resolve_genome(seed, self.space) for seed in spec.seeds]
        for place, seed in enumerate(self.seeds):
            why = self.space.objection(seed)
            if why is not None:
                rule = f"seeds must lie in the space {self.space.name!r}: {why}"
                raise InvalidSpec(rule, pointer=f"/seeds/{place}")

    @cached_property
    def _surrogate(self) -> Surrogate:
        return Surrogate(self.space)

    def propose(self, history: History, *, rng: np.random.Generator) -> Proposal:
        """Returns a genome that was never proposed in this search.

        Args:
            history: What has been proposed and has finished.
            rng: `default_rng([search seed, trial number])`.

        Raises:
            SpaceExhausted: every genome within reach has been tried.
        """
        proposed = history.proposed()
        if proposed < len(self.seeds):
            seed = self.seeds[proposed]
            if not history.tried([seed.digest]):
                return Proposal(seed, "seed")
        finished = history.finished()
        if self.spec.algorithm == "random" or not finished:
            return self._random(history, rng)
        if self._screens and finished >= FIRST:
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
            if child is not None and not history.tried([child.genome.digest]):
                return child
        return self._random(history, rng)

    def _screened(self, history: History, rng: np.random.Generator) -> Proposal:
        """Returns the untried child that the surrogate likes best."""
        window = history.recent(MEMORY)
        in_flight = history.in_flight(MOST_IN_FLIGHT)
        noise = history.noise()
        for batch in range(BATCHES):
            look = self._surrogate.look(window, in_flight, noise=noise, rng=rng)
            children = self._children(history, window, batch + 1, rng)
            newest = list(children.values())
            liked = look.see([child.genome for child in newest])
            for _ in range(GENERATIONS):
                known = len(children)
                for parent in liked[:HEIRS]:
                    for heir in self._heirs(newest[parent], rng):
                        children.setdefault(heir.genome, heir)
                newest = list(islice(children.values(), known, None))
                liked = look.see([heir.genome for heir in newest])
            seen = list(children.values())
            for index in look.choose():
                if not history.tried([seen[index].genome.digest]):
                    return seen[index]
        return self._random(history, rng)

    def _heirs(self, parent: Proposal, rng: np.random.Generator) -> list[Proposal]:
        """Returns children of a child, told as what was done to its parent and then to it."""
        born = [self._further(parent, rng) for _ in range(THEIR_CHILDREN)]
        return [heir for heir in born if heir is not None]

    def _further(self, child: Proposal, rng: np.random.Generator) -> Proposal | None:
        """Returns a genome one step beyond a child; None if no operator can act."""
        mutation = mutate(child.genome, self.space, rng=rng)
        if mutation is None:
            return None
        told = "; ".join(filter(None, (child.mutation, mutation.description)))
        return Proposal(mutation.genome, child.origin, child.parent, told)

    def _children(
        self,
        history: History,
        window: Sequence[Observation],
        steps: int,
        rng: np.random.Generator,
    ) -> dict[Genome, Proposal]:
        """Returns distinct children of tournament winners and of the fittest, and wanderers."""
        population = history.population(self.spec.population_size)
        parents = [self._tournament(population, rng) for _ in range(WINNERS)]
        parents += nlargest(ELITE, window, key=_rank)
        children: dict[Genome, Proposal] = {}
        for index in range(CHILDREN):
            if index == 0 or rng.random() < RESTART:
                walk = self._child(parents[index % len(parents)], steps, rng)
            elif walk is not None:
                walk = self._further(walk, rng)
            if walk is not None:
                children.setdefault(walk.genome, walk)
        for _ in range(WANDERERS):
            genome = self.space.sample(rng=rng)
            children.setdefault(genome, Proposal(genome, "random"))
        return children

    def _child(self, parent: Observation, steps: int, rng: np.random.Generator) -> Proposal | None:
        """Returns a genome some steps away; None if no operator can act on the parent."""
        genome, told = parent.genome, []
        for _ in range(steps):
            mutation = mutate(genome, self.space, rng=rng)
            if mutation is None:
                return None
            genome = mutation.genome
            told.append(mutation.description)
        if genome == parent.genome:  # steps that undo each other
            return self._child(parent, 1, rng)
        return Proposal(genome, "mutation", parent.number, "; ".join(told))

    def _tournament(
        self, population: Sequence[Observation], rng: np.random.Generator
    ) -> Observation:
        size = min(self.spec.tournament_size, len(population))
        drawn = rng.choice(len(population), size, replace=False)
        picks: list[Observation] = [population[int(i)] for i in drawn]
        if self.spec.algorithm == "nsga2":
            return picks[int(np.argmin(rank_by_dominance(picks)))]
        return max(picks, key=_rank)


def _rank(seen: Observation) -> tuple[bool, float]:
    """Returns what orders candidates: any that completed before any that was pruned."""
    return not seen.pruned, seen.fitness


def resolve_genome(named: str | Genome, space: Space) -> Genome:
    """Returns the genome itself, or the zoo's of that name in `space`."""
    return zoo_genome(named, space) if isinstance(named, str) else named
