"""Children of results: a parent's genome some mutations further, and how it came about."""

from __future__ import annotations

from typing import NamedTuple

from brainformer.search.evolution.mutation import Step, mutated
from brainformer.search.space.coded_genome import CodedGenome, GenomeCoder
from brainformer.search.space.space import Dice
from brainformer.search.trials.history import Observation, Proposal


class Child(NamedTuple):
    """A genome that may be proposed, where it comes from, and the steps from there."""

    coded: CodedGenome
    origin: str
    parent: int | None = None
    steps: tuple[Step, ...] = ()


def child_of(parent: Observation, steps: int, coder: GenomeCoder, *, rng: Dice) -> Child | None:
    """Returns a genome that many mutations away; None if no operator can act on the parent."""
    first = child = Child(coder.encode(parent.genome), "mutation", parent.number)
    for _ in range(steps):
        further = mutated_child(child, coder, rng=rng)
        if further is None:
            return None
        child = further
    if child.coded == first.coded:  # steps that undo each other
        return child_of(parent, 1, coder, rng=rng)
    return child


def mutated_child(child: Child, coder: GenomeCoder, *, rng: Dice) -> Child | None:
    """Returns a genome one step beyond a child; None if no operator can act.

    It is told as what was done to its parent, and then to it.
    """
    step = mutated(child.coded, coder, rng=rng)
    if step is None:
        return None
    return Child(step.coded, child.origin, child.parent, (*child.steps, step))


def random_child(coder: GenomeCoder, *, rng: Dice) -> Child:
    """Returns a random genome of the space."""
    return Child(coder.sample(rng=rng), "random")


def proposal_of(child: Child, coder: GenomeCoder) -> Proposal:
    """Returns the child as it is proposed."""
    told = "; ".join([step.description for step in child.steps])
    return Proposal(coder.decode(child.coded), child.origin, child.parent, told)
