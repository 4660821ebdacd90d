"""Mutations: each changes the genome and stays in the space.

An operator is a function in `OPERATORS`; it returns every place where it can act, so that an
operator that cannot act is never drawn and never wastes a proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from search.genome import Genome, Layer
from search.space import Space, changed_layer, random_index


@dataclass(frozen=True)
class Mutation:
    """A changed genome and what was done, in one readable phrase."""

    genome: Genome
    description: str


Change = Callable[[np.random.Generator], Mutation]


class Changes:
    """Every place where an operator can act; the change itself is made for the one drawn."""

    def __init__(self, places: Sequence[tuple[Any, ...]], change: Callable[..., Change]) -> None:
        self._places = places
        self._change = change

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int) -> Change:
        return self._change(*self._places[place])


def change_field(genome: Genome, space: Space) -> Changes:
    """Returns a change for every field of every sub-layer that has another choice."""

    def change(index: int, name: str) -> Change:
        def apply(rng: np.random.Generator) -> Mutation:
            layer = genome.layers[index]
            before = getattr(layer, name)
            others = [c for c in space.layers[layer.kind][name] if c != before]
            after = others[random_index(len(others), rng)]
            changed = changed_layer(layer, name, after)
            return _replaced(
                genome, index, changed, f"{layer.kind} {index}: {name} {before} → {after}"
            )

        return apply

    open_fields = space.open_fields
    places = [
        (index, name)
        for index, layer in enumerate(genome.layers)
        for name in open_fields[layer.kind]
    ]
    return Changes(places, change)


def change_kind(genome: Genome, space: Space) -> Changes:
    """Returns a change of every sub-layer to every other kind."""

    def change(index: int, kind: str) -> Change:
        def apply(rng: np.random.Generator) -> Mutation:
            layer = space.sample_layer(kind=kind, rng=rng)
            before = genome.layers[index].kind
            return _replaced(genome, index, layer, f"sub-layer {index}: {before} → {kind}")

        return apply

    places = [
        (index, kind)
        for index, layer in enumerate(genome.layers)
        for kind in space.layers
        if kind != layer.kind
    ]
    return Changes(places, change)


def insert(genome: Genome, space: Space) -> Changes:
    """Returns an insertion of a random sub-layer at every place, while there is room."""

    def change(index: int) -> Change:
        def apply(rng: np.random.Generator) -> Mutation:
            layer = space.sample_layer(rng=rng)
            layers = (*genome.layers[:index], layer, *genome.layers[index:])
            return Mutation(_with_layers(genome, layers), f"insert {layer.kind} at {index}")

        return apply

    room = len(genome.layers) < space.max_layers
    return Changes([(index,) for index in range(len(genome.layers) + 1)] if room else [], change)


def delete(genome: Genome, space: Space) -> Changes:
    """Returns a deletion of every sub-layer, while the block stays long enough."""

    def change(index: int) -> Change:
        def apply(_rng: np.random.Generator) -> Mutation:
            layers = (*genome.layers[:index], *genome.layers[index + 1 :])
            kind = genome.layers[index].kind
            return Mutation(_with_layers(genome, layers), f"delete {kind} at {index}")

        return apply

    long_enough = len(genome.layers) > space.min_layers
    places = [(index,) for index in range(len(genome.layers))] if long_enough else []
    return Changes(places, change)


def swap(genome: Genome, _space: Space) -> Changes:
    """Returns an exchange of every two sub-layers that differ."""

    def change(first: int, second: int) -> Change:
        def apply(_rng: np.random.Generator) -> Mutation:
            layers = list(genome.layers)
            layers[first], layers[second] = layers[second], layers[first]
            return Mutation(_with_layers(genome, tuple(layers)), f"swap {first} and {second}")

        return apply

    marks = [hash(layer) for layer in genome.layers]  # far cheaper to compare than sub-layers
    places = [
        (first, second)
        for first in range(len(marks))
        for second in range(first + 1, len(marks))
        if marks[first] != marks[second]
    ]
    return Changes(places, change)


def change_model_dim(genome: Genome, space: Space) -> Changes:
    """Returns a change to every other model dim."""

    def change(dim: int) -> Change:
        def apply(_rng: np.random.Generator) -> Mutation:
            text = f"model dim {genome.model_dim} → {dim}"
            return Mutation(genome.model_copy(update={"model_dim": dim}), text)

        return apply

    return Changes([(dim,) for dim in space.model_dim if dim != genome.model_dim], change)


Operator = Callable[[Genome, Space], Changes]
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


def operator_probabilities(genome: Genome, space: Space) -> dict[str, float]:
    """Returns the chance of each operator that can act on `genome`; they sum to 1."""
    weights = _weights(tuple(space.mutation_weights.items()))
    able = {name: weight for name, weight in weights.items() if OPERATORS[name](genome, space)}
    total = sum(able.values())
    return {name: weight / total for name, weight in able.items()}


def mutate(genome: Genome, space: Space, *, rng: np.random.Generator) -> Mutation | None:
    """Returns a genome one step away: never the same, never outside the space.

    None where no operator can act: the space holds nothing else, or its weights allow, say,
    swaps alone and all sub-layers are equal.
    """
    weights = _weights(tuple(space.mutation_weights.items()))
    names = list(weights)
    # Drawing again after an operator that cannot act gives those that can their fair shares.
    while names:
        name = _drawn(names, weights, rng)
        found = OPERATORS[name](genome, space)
        if found:
            return found[random_index(len(found), rng)](rng)
        names.remove(name)
    return None


@cache
def _weights(given: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Returns the weight of each operator that may be drawn, given those that a space sets."""
    weights = {**DEFAULT_WEIGHTS, **dict(given)}
    return {name: weights[name] for name in OPERATORS if weights[name] > 0}


def _drawn(names: list[str], weights: dict[str, float], rng: np.random.Generator) -> str:
    left = float(rng.random()) * sum([weights[name] for name in names])
    for name in names:
        left -= weights[name]
        if left < 0:
            return name
    return names[-1]


def neighbours(genome: Genome, space: Space) -> list[Genome]:
    """Returns every genome one step away, without repeats."""
    found: dict[Genome, None] = {}
    for layers in _neighbour_layers(genome, space):
        found.setdefault(_with_layers(genome, layers))
    for dim in space.model_dim:
        found.setdefault(genome.model_copy(update={"model_dim": dim}))
    found.pop(genome, None)
    return list(found)


def _neighbour_layers(genome: Genome, space: Space) -> list[tuple[Layer, ...]]:
    layers = genome.layers
    every = [layer for kind in space.layers for layer in space.layers_of(kind)]
    length = len(layers)
    found = [(*layers[:i], new, *layers[i + 1 :]) for i in range(length) for new in every]
    if length < space.max_layers:
        found += [(*layers[:i], new, *layers[i:]) for i in range(length + 1) for new in every]
    if length > space.min_layers:
        found += [(*layers[:i], *layers[i + 1 :]) for i in range(length)]
    for i in range(length):
        for j in range(i + 1, length):
            turned = list(layers)
            turned[i], turned[j] = turned[j], turned[i]
            found.append(tuple(turned))
    return found


def _with_layers(genome: Genome, layers: tuple[Layer, ...]) -> Genome:
    return genome.model_copy(update={"layers": layers})


def _replaced(genome: Genome, index: int, layer: Layer, description: str) -> Mutation:
    layers = (*genome.layers[:index], layer, *genome.layers[index + 1 :])
    return Mutation(_with_layers(genome, layers), description)
