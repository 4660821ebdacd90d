"""Regularized evolution: tournament, the fittest, mutate; the oldest leave (arXiv:1802.01548).

Asynchronous by nature: a proposal looks at what has finished, and at what was proposed only to
avoid repeating it. All randomness comes from the caller's generator, seeded by (search seed, trial
number), so the same results in the same order give the same search, after a restart too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from search.errors import InvalidSpec, SpaceExhausted
from search.genome import Genome
from search.history import History, Observation, Proposal
from search.multi_objective import rank_by_dominance
from search.mutation import mutate
from search.space import Space
from search.spec import SearchSpec
from search.surrogate import MIN_OBSERVATIONS, WINDOW, Surrogate
from search.zoo import zoo_genome

CHILDREN = 64  # mutated children that the surrogate chooses from
WINNERS = 4  # tournaments whose winners are the children's parents
ATTEMPTS = 64  # batches of children before the space counts as exhausted
ENUMERATE_BELOW = 20_000  # spaces so small are searched to the last genome


class Proposer:
    """Proposes the next genome of one search from its history."""

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        self.space = spec.resolved_space()
        self.seeds = [resolve_genome(seed, self.space) for seed in spec.seeds]
        for seed in self.seeds:
            if not self.space.contains(seed):
                raise InvalidSpec(
                    f"seeds must lie in the space {self.space.name!r}", seed.canonical_json()
                )

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
        first = max(self.spec.population_size, len(self.seeds))
        population = history.population(self.spec.population_size)
        if self.spec.algorithm == "random" or proposed < first or not population:
            return self._random(history, rng)
        return self._mutated(history, population, rng)

    def _random(self, history: History, rng: np.random.Generator) -> Proposal:
        for _ in range(ATTEMPTS):
            genomes = [self.space.sample(rng=rng) for _ in range(8)]
            fresh = _untried(genomes, history)
            if fresh:
                return Proposal(fresh[0], "random")
        return self._last_resort(history, rng)

    def _mutated(
        self, history: History, population: Sequence[Observation], rng: np.random.Generator
    ) -> Proposal:
        screened = self._screens(history)
        steps = 1
        for _ in range(ATTEMPTS):
            children = self._children(population, CHILDREN if screened else 1, steps, rng)
            tried = history.tried([child.genome.digest for child in children])
            fresh = [child for child in children if child.genome.digest not in tried]
            if fresh:
                return fresh[self._choice(fresh, history, rng) if screened else 0]
            steps += 1  # everything near is known: look farther
        return self._last_resort(history, rng)

    def _screens(self, history: History) -> bool:
        if self.spec.screening.kind == "none" or self.spec.algorithm != "regularized_evolution":
            return False
        return history.finished() >= MIN_OBSERVATIONS

    def _choice(self, fresh: list[Proposal], history: History, rng: np.random.Generator) -> int:
        return self._surrogate.choose(
            [child.genome for child in fresh],
            history.recent(WINDOW),
            noise=history.noise(),
            rng=rng,
        )

    def _children(
        self,
        population: Sequence[Observation],
        count: int,
        steps: int,
        rng: np.random.Generator,
    ) -> list[Proposal]:
        """Returns `count` distinct mutated children of tournament winners."""
        winners = WINNERS if count > 1 else 1
        parents = [self._tournament(population, rng) for _ in range(winners)]
        children: dict[str, Proposal] = {}
        for index in range(count):
            parent = parents[index % winners]
            far = steps + (int(rng.geometric(0.5)) - 1 if count > 1 else 0)
            child = self._child(parent, far, rng)
            children.setdefault(child.genome.digest, child)
        return list(children.values())

    def _child(self, parent: Observation, steps: int, rng: np.random.Generator) -> Proposal:
        genome, told = parent.genome, []
        for _ in range(steps):
            mutation = mutate(genome, self.space, rng=rng)
            genome = mutation.genome
            told.append(mutation.description)
        if genome == parent.genome:  # two steps that undo each other
            mutation = mutate(genome, self.space, rng=rng)
            genome, told = mutation.genome, [mutation.description]
        return Proposal(genome, "mutation", parent.number, "; ".join(told))

    def _tournament(
        self, population: Sequence[Observation], rng: np.random.Generator
    ) -> Observation:
        size = min(self.spec.tournament_size, len(population))
        drawn = rng.choice(len(population), size, replace=False)
        picks: list[Observation] = [population[int(i)] for i in drawn]
        if self.spec.algorithm == "nsga2":
            return picks[int(np.argmin(rank_by_dominance(picks)))]
        return max(picks, key=lambda seen: seen.fitness)

    def _last_resort(self, history: History, rng: np.random.Generator) -> Proposal:
        """Returns any untried genome of a space small enough to be listed whole."""
        if self.space.size() <= ENUMERATE_BELOW:
            genomes = list(self.space.enumerate())
            for index in rng.permutation(len(genomes)):
                if not history.tried([genomes[index].digest]):
                    return Proposal(genomes[index], "random")
        raise SpaceExhausted(history.proposed(), ATTEMPTS)


def resolve_genome(named: str | Genome, space: Space) -> Genome:
    """Returns the genome itself, or the zoo's of that name in `space`."""
    return zoo_genome(named, space) if isinstance(named, str) else named


def _untried(genomes: list[Genome], history: History) -> list[Genome]:
    tried = history.tried([genome.digest for genome in genomes])
    return [genome for genome in genomes if genome.digest not in tried]
