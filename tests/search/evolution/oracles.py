"""What mutations are compared with: every neighbour of a genome, and the odds of every operator."""

from __future__ import annotations

from brainformer.search.evolution.mutation import DEFAULT_WEIGHTS, OPERATORS
from brainformer.search.space.coded_genome import GenomeCoder
from brainformer.search.space.genome import Genome, Layer
from brainformer.search.space.space import Space


def operator_probabilities(genome: Genome, space: Space) -> dict[str, float]:
    """Returns the chance of each operator that can act on `genome`; they sum to 1."""
    coder = GenomeCoder(space)
    coded = coder.encode(genome)
    weights = (DEFAULT_WEIGHTS | space.mutation_weights).items()
    able = {
        name: weight for name, weight in weights if weight > 0 and OPERATORS[name](coded, coder)[0]
    }
    total = sum(able.values())
    return {name: weight / total for name, weight in able.items()}


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
