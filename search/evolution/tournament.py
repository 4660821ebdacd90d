"""Tournaments: of a few candidates drawn from the population, the fittest is a parent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from brainformer.search.evolution.breeding import child_of, proposal_of
from brainformer.search.evolution.effort import Effort
from brainformer.search.evolution.pareto import rank_by_dominance
from brainformer.search.space.coded_genome import GenomeCoder
from brainformer.search.spec import SearchSpec
from brainformer.search.trials.history import History, Observation, Proposal


def winner(picks: Sequence[Observation], spec: SearchSpec) -> Observation:
    """Returns the fittest of a tournament, by Pareto rank where there are several objectives."""
    if spec.algorithm == "nsga2":
        return picks[int(np.argmin(rank_by_dominance(picks)))]
    return max(picks, key=fitness_order)


def fitness_order(seen: Observation) -> tuple[bool, float]:
    """Returns what orders candidates: any that completed before any that was pruned."""
    return not seen.pruned, seen.fitness


def mutated_winner(
    spec: SearchSpec,
    coder: GenomeCoder,
    history: History,
    effort: Effort,
    *,
    rng: np.random.Generator,
) -> Proposal | None:
    """Returns an untried child of a tournament's winner: plain regularized evolution.

    Where all that is near has been tried it looks farther; None if that was in vain.
    """
    population = history.population(spec.population_size)
    size = min(spec.tournament_size, len(population))
    for distance, _ in product(range(1, effort.farthest + 1), range(effort.tries_per_distance)):
        drawn = rng.choice(len(population), size, replace=False)
        parent = winner([population[int(index)] for index in drawn], spec)
        child = child_of(parent, distance, coder, rng=rng)
        if child is not None:
            proposal = proposal_of(child, coder)
            if not history.tried([proposal.genome.digest]):
                return proposal
    return None
