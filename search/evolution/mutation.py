"""Mutations: each changes the genome and stays in the space.

An operator is a function in `OPERATORS`; it tells how many changes it can make of a block, so that
an operator that cannot act is never drawn and never wastes a proposal. Operators work on coded
genomes (`space/coded_genome.py`); what one did becomes words only for the steps that are reported.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from brainformer.search.space.coded_genome import CodedGenome, GenomeCoder
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import (
    Choice,
    Dice,
    Space,
    random_index,
)


@dataclass(frozen=True)
class Mutation:
    """A changed genome and what was done, in one readable phrase."""

    genome: Genome
    description: str


class Step(NamedTuple):
    """A changed block, and what was done: a phrase with gaps and what fills them."""

    coded: CodedGenome
    phrase: str
    words: tuple[Choice, ...]

    @property
    def description(self) -> str:
        """What was done, in one readable phrase."""
        return self.phrase.format(*self.words)


# The changes that an operator can make of a block: how many, and what makes the n-th.
Changes = tuple[int, Callable[[int, Dice], Step]]


def change_field(coded: CodedGenome, coder: GenomeCoder) -> Changes:
    """Returns a change for every field of every sub-layer that has another choice."""
    names = [coder.open_fields[code] for code in coded.codes]

    def make(at: int, rng: Dice) -> Step:
        index, at = _place(names, at)
        code, name = coded.codes[index], names[index][at]
        before = getattr(coder.layers[code], name)
        others = coder.other_choices(code, name)
        after = others[random_index(len(others), rng)]
        changed = _replaced(coded, index, coder.changed(code, name, after))
        words = (coder.kind_of[code], index, name, before, after)
        return Step(changed, "{} {}: {} {} → {}", words)

    return sum(map(len, names)), make


def change_kind(coded: CodedGenome, coder: GenomeCoder) -> Changes:
    """Returns a change of every sub-layer to every other kind."""
    kinds = [coder.kind_of[code] for code in coded.codes]
    others = [coder.other_kinds.get(kind, coder.kinds) for kind in kinds]

    def make(at: int, rng: Dice) -> Step:
        index, at = _place(others, at)
        kind = others[index][at]
        changed = _replaced(coded, index, coder.draw(kind=kind, rng=rng))
        return Step(changed, "sub-layer {}: {} → {}", (index, kinds[index], kind))

    return sum(map(len, others)), make


def insert(coded: CodedGenome, coder: GenomeCoder) -> Changes:
    """Returns an insertion of a random sub-layer at every place, while there is room."""
    dim, codes = coded

    def make(at: int, rng: Dice) -> Step:
        code = coder.draw(rng=rng)
        longer = CodedGenome(dim, (*codes[:at], code, *codes[at:]))
        return Step(longer, "insert {} at {}", (coder.kind_of[code], at))

    room = len(codes) < coder.space.max_layers
    return (len(codes) + 1 if room else 0), make


def delete(coded: CodedGenome, coder: GenomeCoder) -> Changes:
    """Returns a deletion of every sub-layer, while the block stays long enough."""
    dim, codes = coded

    def make(at: int, _rng: Dice) -> Step:
        shorter = CodedGenome(dim, codes[:at] + codes[at + 1 :])
        return Step(shorter, "delete {} at {}", (coder.kind_of[codes[at]], at))

    long_enough = len(codes) > coder.space.min_layers
    return (len(codes) if long_enough else 0), make


def swap(coded: CodedGenome, _coder: GenomeCoder) -> Changes:
    """Returns an exchange of every two sub-layers that differ."""
    dim, codes = coded
    pairs = [
        (first, second)
        for first, one in enumerate(codes)
        for second in range(first + 1, len(codes))
        if codes[second] != one
    ]

    def make(at: int, _rng: Dice) -> Step:
        first, second = pairs[at]
        turned = list(codes)
        turned[first], turned[second] = turned[second], turned[first]
        return Step(CodedGenome(dim, tuple(turned)), "swap {} and {}", (first, second))

    return len(pairs), make


def change_model_dim(coded: CodedGenome, coder: GenomeCoder) -> Changes:
    """Returns a change to every other model dim."""
    now, codes = coded
    others = [dim for dim in coder.space.model_dim if dim != now]

    def make(at: int, _rng: Dice) -> Step:
        return Step(CodedGenome(others[at], codes), "model dim {} → {}", (now, others[at]))

    return len(others), make


Operator = Callable[[CodedGenome, GenomeCoder], Changes]
OPERATORS: dict[str, Operator] = {
    "change_field": change_field,
    "change_kind": change_kind,
    "insert": insert,
    "delete": delete,
    "swap": swap,
    "change_model_dim": change_model_dim,
}
DEFAULT_WEIGHTS: dict[str, float] = {
    "change_field": 3.0,
    "change_kind": 2.0,
    "insert": 1.0,
    "delete": 1.0,
    "swap": 1.0,
    "change_model_dim": 1.0,
}


def mutate(genome: Genome, space: Space, *, rng: Dice) -> Mutation | None:
    """Returns a genome one step away: never the same, never outside the space.

    For who changes a genome here and there, as benchmarks do; proposals mutate coded genomes.
    None where no operator can act: the space holds nothing else, or its weights allow, say,
    swaps alone and all sub-layers are equal.
    """
    coder = GenomeCoder(space)
    step = mutated(coder.encode(genome), coder, rng=rng)
    return None if step is None else Mutation(coder.decode(step.coded), step.description)


def mutated(coded: CodedGenome, coder: GenomeCoder, *, rng: Dice) -> Step | None:
    """Returns what `mutate` does, of a coded genome."""
    weights = coder.mutation_weights
    # Drawing again after an operator that cannot act gives those that can their fair shares.
    while (drawn := _odds(weights))[0]:
        names, odds = drawn
        name = names[min(bisect_right(odds, rng.random() * odds[-1]), len(names) - 1)]
        count, make = OPERATORS[name](coded, coder)
        if count:
            return make(random_index(count, rng), rng)
        weights = (*weights, (name, 0.0))
    return None


@cache
def _odds(given: tuple[tuple[str, float], ...]) -> tuple[list[str], list[float]]:
    """Returns the operators that may be drawn, and the sum of the weights up to each."""
    weights = DEFAULT_WEIGHTS | dict(given)
    names = [name for name in OPERATORS if weights[name] > 0]
    return names, list(accumulate(weights[name] for name in names))


def _place(options: Sequence[Sequence[str]], at: int) -> tuple[int, int]:
    """Returns which sub-layer the n-th of all sub-layers' options is of, and which of its own."""
    for index, own in enumerate(options):
        if at < len(own):
            return index, at
        at -= len(own)
    raise IndexError(f"fewer than {at} options are left")


def _replaced(coded: CodedGenome, index: int, code: int) -> CodedGenome:
    dim, codes = coded
    return CodedGenome(dim, (*codes[:index], code, *codes[index + 1 :]))
