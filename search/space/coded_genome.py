"""Genomes as small numbers: what a proposal juggles, since genomes are slow to build and to hash.

A sub-layer is a token, a genome its model dim and its tokens. Tokens are given as sub-layers are
met, so they mean something within one alphabet alone; nothing may depend on their order.
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

NOTHING = 0  # the token of a place behind the end of a block
MOST_OBJECTS = 20_000


class Coded(NamedTuple):
    """A genome as numbers."""

    model_dim: int
    tokens: tuple[int, ...]


class Alphabet:
    """The sub-layers of one space, as they are met; those outside the space have tokens too."""

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
        self._token: dict[Layer, int] = {}
        self._same: dict[int, tuple[Layer, int]] = {}
        self._drawn: dict[LayerKey, int] = {}
        self._others: dict[tuple[int, str], tuple[Choice, ...]] = {}
        self._changed: dict[tuple[int, str, Choice], int] = {}

    def __len__(self) -> int:
        """Returns the number of tokens given so far, that of nothing among them."""
        return len(self.kind_of)

    def code(self, genome: Genome) -> Coded:
        """Returns the genome as numbers."""
        return Coded(genome.model_dim, tuple([self.token(layer) for layer in genome.layers]))

    def genome(self, coded: Coded) -> Genome:
        """Returns the genome of these numbers, every part of which was checked when it was made."""
        layers = tuple([self.layers[token] for token in coded.tokens])
        return Genome.model_construct(schema_version=1, model_dim=coded.model_dim, layers=layers)

    def token(self, layer: Layer) -> int:
        """Returns the sub-layer's token."""
        same = self._same.get(id(layer))  # far cheaper than the hash of its fields
        if same is not None:
            return same[1]
        token = self._token.get(layer)
        if token is None:
            token = self._token[layer] = len(self)
            self.layers[token] = layer
            self.kind_of.append(layer.kind)
            self.open_fields.append(self.space.open_fields.get(layer.kind, ()))
        if len(self._same) >= MOST_OBJECTS:
            self._same.clear()
        self._same[id(layer)] = layer, token  # held, so that its id stays its own
        return token

    def draw(self, *, kind: str | None = None, rng: Dice) -> int:
        """Returns a random sub-layer, of `kind` if one is given."""
        key = self.space.draw_layer(kind=kind, rng=rng)
        token = self._drawn.get(key)
        if token is None:
            token = self._drawn[key] = self.token(make_layer(*key))
        return token

    def sample(self, *, rng: Dice) -> Coded:
        """Returns a random genome, as the space samples it."""
        length = self.space.draw_length(rng=rng)
        tokens = tuple([self.draw(rng=rng) for _ in range(length)])
        return Coded(self.space.draw_model_dim(rng=rng), tokens)

    def other_choices(self, token: int, name: str) -> tuple[Choice, ...]:
        """Returns the choices that a field of the sub-layer does not have now."""
        others = self._others.get((token, name))
        if others is None:
            choices = self.space.layers[self.kind_of[token]][name]
            now = getattr(self.layers[token], name)
            others = self._others[token, name] = tuple(c for c in choices if c != now)
        return others

    def changed(self, token: int, name: str, choice: Choice) -> int:
        """Returns the sub-layer with one field changed."""
        key = token, name, choice
        changed = self._changed.get(key)
        if changed is None:
            layer = self.layers[token].model_copy(update={name: choice})
            changed = self._changed[key] = self.token(layer)
        return changed
