"""Genomes as small numbers: what a proposal juggles, since genomes are slow to build and to hash.

A sub-layer is a code, a genome its model dim and the codes of its sub-layers. Codes are given as
sub-layers are met, so they mean something to one coder alone; nothing may depend on their order.
"""

from __future__ import annotations

from typing import NamedTuple

from brainformer.search.space.genome import Genome, Layer
from brainformer.search.space.space import (
    Choice,
    Dice,
    LayerKey,
    Space,
    make_layer,
)

NOTHING = 0  # the code of a place behind the end of a block
MOST_OBJECTS = 20_000


class CodedGenome(NamedTuple):
    """A genome as numbers: its model dim and the codes of its sub-layers."""

    model_dim: int
    codes: tuple[int, ...]


class GenomeCoder:
    """Codes the genomes of one space, and those outside of it that are met."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.kinds = tuple(space.layers)
        self.other_kinds = {
            kind: tuple(other for other in self.kinds if other != kind) for kind in self.kinds
        }
        self.mutation_weights = tuple(space.mutation_weights.items())
        self.layers: dict[int, Layer] = {}
        self.kind_of: list[str] = [""]
        self.open_fields: list[tuple[str, ...]] = [()]
        self._codes: dict[Layer, int] = {}
        self._same: dict[int, tuple[Layer, int]] = {}
        self._drawn: dict[LayerKey, int] = {}
        self._others: dict[tuple[int, str], tuple[Choice, ...]] = {}
        self._changed: dict[tuple[int, str, Choice], int] = {}

    def __len__(self) -> int:
        """Returns the number of codes given so far, that of nothing among them."""
        return len(self.kind_of)

    def encode(self, genome: Genome) -> CodedGenome:
        """Returns the genome as numbers."""
        codes = tuple([self.layer_code(layer) for layer in genome.layers])
        return CodedGenome(genome.model_dim, codes)

    def decode(self, coded: CodedGenome) -> Genome:
        """Returns the genome of these numbers, every part of which was checked when it was made."""
        layers = tuple([self.layers[code] for code in coded.codes])
        return Genome.model_construct(schema_version=1, model_dim=coded.model_dim, layers=layers)

    def layer_code(self, layer: Layer) -> int:
        """Returns the sub-layer's code."""
        same = self._same.get(id(layer))  # far cheaper than the hash of its fields
        if same is not None:
            return same[1]
        code = self._codes.get(layer)
        if code is None:
            code = self._codes[layer] = len(self)
            self.layers[code] = layer
            self.kind_of.append(layer.kind)
            self.open_fields.append(self.space.open_fields.get(layer.kind, ()))
        if len(self._same) >= MOST_OBJECTS:
            self._same.clear()
        self._same[id(layer)] = layer, code  # held, so that its id stays its own
        return code

    def draw(self, *, kind: str | None = None, rng: Dice) -> int:
        """Returns a random sub-layer, of `kind` if one is given."""
        key = self.space.draw_layer(kind=kind, rng=rng)
        code = self._drawn.get(key)
        if code is None:
            code = self._drawn[key] = self.layer_code(make_layer(*key))
        return code

    def sample(self, *, rng: Dice) -> CodedGenome:
        """Returns a random genome, as the space samples it."""
        length = self.space.draw_length(rng=rng)
        codes = tuple([self.draw(rng=rng) for _ in range(length)])
        return CodedGenome(self.space.draw_model_dim(rng=rng), codes)

    def other_choices(self, code: int, name: str) -> tuple[Choice, ...]:
        """Returns the choices that a field of the sub-layer does not have now."""
        others = self._others.get((code, name))
        if others is None:
            choices = self.space.layers[self.kind_of[code]][name]
            now = getattr(self.layers[code], name)
            others = self._others[code, name] = tuple(c for c in choices if c != now)
        return others

    def changed(self, code: int, name: str, choice: Choice) -> int:
        """Returns the sub-layer with one field changed."""
        key = code, name, choice
        changed = self._changed.get(key)
        if changed is None:
            layer = self.layers[code].model_copy(update={name: choice})
            changed = self._changed[key] = self.layer_code(layer)
        return changed
