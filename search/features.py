"""Features of a genome for the surrogate: what the ratio, the place and the size of layers say.

The paper finds that the ratio of layer types matters and their order hardly does
(arXiv:2306.00008, ablation), so counts weigh most; places and pairs let interactions show.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from search.genome import LAYER_KINDS, Genome
from search.space import Space

Vector = npt.NDArray[np.float64]
KINDS = tuple(LAYER_KINDS)


class FeatureMap:
    """Maps the genomes of one space to vectors of equal length.

    Blocks of features: kinds by place, kinds counted, neighbouring pairs counted, every field by
    place, every field averaged, model dim, length. A block is scaled by the root of its width, so
    that no block outweighs another by being long.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.kinds = tuple(space.layers)
        self.fields = [
            (kind, name, {choice: place for place, choice in enumerate(choices)})
            for kind, fields in space.layers.items()
            for name, choices in fields.items()
            if len(choices) > 1
        ]
        self._cache: dict[Genome, Vector] = {}

    def __call__(self, genomes: list[Genome]) -> npt.NDArray[np.float64]:
        """Returns one row a genome."""
        return np.stack([self._vector(genome) for genome in genomes])

    def _vector(self, genome: Genome) -> Vector:
        known = self._cache.get(genome)
        if known is None:
            if len(self._cache) > 20_000:
                self._cache.clear()
            known = self._cache[genome] = self._compute(genome)
        return known

    def _compute(self, genome: Genome) -> Vector:
        length, width = self.space.max_layers, len(self.kinds)
        place = np.zeros((length, width))
        pairs = np.zeros((width + 1, width + 1))
        before = width
        for index, layer in enumerate(genome.layers[:length]):
            kind = self.kinds.index(layer.kind) if layer.kind in self.kinds else 0
            place[index, kind] = 1
            pairs[before, kind] += 1
            before = kind
        pairs[before, width] += 1
        counts = place.sum(axis=0)
        parts = [place.ravel(), counts, pairs.ravel(), *self._field_parts(genome)]
        parts.append(np.array([len(genome.layers), math.log2(genome.model_dim)]))
        return np.concatenate(parts)

    def _field_parts(self, genome: Genome) -> list[Vector]:
        """Returns shares of every choice of every field, over the sub-layers that have it."""
        parts = []
        for kind, name, places in self.fields:
            share = np.zeros(len(places))
            for layer in genome.layers:
                if layer.kind == kind:
                    share[places.get(getattr(layer, name), 0)] += 1
            parts.append(share)
        return parts
