"""How hard a proposal looks: every constant of `search/evolution/`, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How hard a proposal looks.

    The figures of screening are from benchmarks/search_quality.py (docs/experiments/evolution.md);
    to change one is to change the course of every search.

    Attributes:
        founders: Proposals, seeds and random genomes, before the surrogate may choose: with fewer,
            it learns from too narrow a sample (decision 31).
        least_finished: Results before the surrogate may choose, where many trials are in flight.
        tries_per_distance: Children at each distance from their parents, where nothing is screened.
        farthest: Most mutations between a parent and its child, where nothing is screened.
        tournaments: Tournaments whose winners are parents of the children screened.
        elite: Fittest results of the surrogate's window that are parents too.
        children: Mutated children that the surrogate looks at first.
        restart_chance: Probability that the next child starts from a parent again rather than goes
            on from the last child, so that children stand at every distance.
        wanderers: Random genomes among the children, against a narrow population.
        generations: Further generations that the surrogate looks at.
        heirs: Children of each generation, those it expects most of, that have children.
        children_per_heir: How many children each of them has.
        batches: Looks, each one mutation farther from the parents, before any genome will do.
        most_in_flight: Candidates without a result, the last ones, that the surrogate counts on.
        most_codes: Sub-layers that a coder describes before it starts over: a bound on memory in
            large spaces.
    """

    founders: int = 16
    least_finished: int = 10
    tries_per_distance: int = 8
    farthest: int = 8
    tournaments: int = 4
    elite: int = 3
    children: int = 28
    restart_chance: float = 0.5
    wanderers: int = 12
    generations: int = 4
    heirs: int = 6
    children_per_heir: int = 4
    batches: int = 4
    most_in_flight: int = 100
    most_codes: int = 50_000


EFFORT = Effort()
