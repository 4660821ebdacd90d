"""What the surrogate sees of genomes: sub-layers by place, and what they hold in total.

Places tell which sub-layer follows which; totals tell the ratio of layer types, which the paper
finds to matter more than their order (arXiv:2306.00008, ablation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from search.genome import Genome, Layer
from search.space import Choice, Space

Matrix = npt.NDArray[np.float64]
Codes = npt.NDArray[np.signedinteger[Any]]
MOST_OBJECTS = 20_000


@dataclass(frozen=True)
class Features:
    """Genomes as arrays, one row each; `L` is the space's longest block, `K` its kinds.

    Attributes:
        kinds: Kind by place, `K` behind the end of the block; shape (n, L).
        around: What a stacked block has around its end: the last kind and the first, the last two
            and the first, the last and the first two, each with the length; shape (n, 3).
        details: Choices of every field by place, and the model dim; shape (n, L * F + D).
        pairs: How often one kind follows another, the ends too; shape (n, (K + 1) ** 2).
        counts: Sub-layers by kind; shape (n, K).
        shares: Choices of every field, summed over places, and the model dim; shape (n, F + D).
    """

    kinds: npt.NDArray[np.int8]
    around: Codes
    details: Matrix
    pairs: Matrix
    counts: Matrix
    shares: Matrix

    def __len__(self) -> int:
        return len(self.kinds)

    @cached_property
    def squares(self) -> dict[str, Matrix]:
        """Sums of squares of each row, by the names of the arrays that distances are taken of."""
        arrays = {"counts": self.counts, "details": self.details, "shares": self.shares}
        return {name: (array**2).sum(axis=1) for name, array in arrays.items()}

    def joined(self, others: Features) -> Features:
        """Returns these rows and then the others."""
        return Features(
            kinds=np.concatenate([self.kinds, others.kinds]),
            around=np.concatenate([self.around, others.around]),
            details=np.concatenate([self.details, others.details]),
            pairs=np.concatenate([self.pairs, others.pairs]),
            counts=np.concatenate([self.counts, others.counts]),
            shares=np.concatenate([self.shares, others.shares]),
        )


class FeatureMap:
    """Maps the genomes of one space to `Features`.

    A field of numbers is one column (its choice's rank, from 0 to 1); a field of words is a column
    a word. Columns of one sub-layer are scaled so that two that differ in every field are a unit
    apart, whatever the number of fields.
    """

    def __init__(self, space: Space) -> None:
        self.places = space.max_layers
        self.kinds = tuple(space.layers)
        columns = [
            (kind, name, _columns(choices))
            for kind, fields in space.layers.items()
            for name, choices in fields.items()
            if len(choices) > 1
        ]
        self._fields: dict[str, list[tuple[str, int, dict[Choice, Matrix]]]] = {}
        width = 0
        for kind, name, shown in columns:
            self._fields.setdefault(kind, []).append((name, width, shown))
            width += len(next(iter(shown.values())))
        self._width = width
        self._dims = _columns(space.model_dim)
        self._no_dim = np.zeros(len(next(iter(self._dims.values()))))
        self._token: dict[Layer, int] = {}
        self._same: dict[int, tuple[Layer, int]] = {}
        self._rows: list[Matrix] = [np.zeros(width)]  # of a place behind the end
        self._kind_of: list[int] = [len(self.kinds)]
        self._table: Matrix = np.zeros((0, width))
        self._codes: npt.NDArray[np.int8] = np.zeros(0, np.int8)

    @property
    def detailed(self) -> bool:
        """Whether genomes of this space differ in more than the kinds of their sub-layers."""
        return self._width > 0 or len(self._no_dim) > 0

    def __call__(self, genomes: Sequence[Genome]) -> Features:
        """Returns one row a genome."""
        n, k = len(genomes), len(self.kinds)
        tokens = np.array([self._tokens(one) for one in genomes], int).reshape(n, self.places)
        if len(self._table) != len(self._rows):
            self._table, self._codes = np.stack(self._rows), np.array(self._kind_of, np.int8)
        dims = np.array([self._dims.get(one.model_dim, self._no_dim) for one in genomes])
        dims = dims.reshape(n, len(self._no_dim))
        kinds, fields = self._codes[tokens], self._table[tokens]
        lengths = np.array([len(one.layers) for one in genomes], int)
        counts = np.stack([(kinds == code).sum(axis=1) for code in range(k)], axis=1)
        return Features(
            kinds=kinds,
            around=_around(kinds, lengths, k),
            details=np.concatenate([fields.reshape(n, self.places * self._width), dims], axis=1),
            pairs=_pair_counts(kinds, k),
            counts=counts.astype(np.float64),
            shares=np.concatenate([fields.sum(axis=1), dims * self.places], axis=1),
        )

    def _tokens(self, genome: Genome) -> list[int]:
        found = []
        for layer in genome.layers:
            same = self._same.get(id(layer))  # far cheaper than the hash of its fields
            found.append(self._learn(layer) if same is None else same[1])
        return found + [0] * (self.places - len(found))

    def _learn(self, layer: Layer) -> int:
        token = self._token.get(layer)
        if token is None:
            token = self._token[layer] = self._described(layer)
        if len(self._same) >= MOST_OBJECTS:
            self._same.clear()
        self._same[id(layer)] = layer, token  # held, so that its id stays its own
        return token

    def _described(self, layer: Layer) -> int:
        row = np.zeros(self._width)
        fields = self._fields.get(layer.kind, [])
        for name, start, shown in fields:
            values = shown.get(getattr(layer, name))
            if values is not None:  # a seed or a baseline may lie outside the space
                row[start : start + len(values)] = values
        self._rows.append(row / max(len(fields), 1) ** 0.5)
        known = layer.kind in self.kinds
        self._kind_of.append(self.kinds.index(layer.kind) if known else len(self.kinds))
        return len(self._rows) - 1


def _columns(choices: Sequence[Choice]) -> dict[Choice, Matrix]:
    """Returns the columns of each choice: its rank among numbers, or one column a word."""
    if len(choices) < 2:
        return {choice: np.zeros(0) for choice in choices}
    if all(isinstance(choice, int | float) for choice in choices):
        ranked = sorted(choices)
        return {choice: np.array([at / (len(ranked) - 1)]) for at, choice in enumerate(ranked)}
    return dict(zip(choices, np.eye(len(choices)) * 0.5**0.5, strict=True))


def _around(kinds: npt.NDArray[np.int8], lengths: npt.NDArray[np.int_], k: int) -> Codes:
    """Returns, as numbers, which kinds meet where the next block begins."""
    rows, last = np.arange(len(kinds)), lengths - 1
    end = lengths * (k + 1) + kinds[rows, last]
    ring = end * (k + 1) + kinds[:, 0]
    before, second = kinds[rows, np.maximum(last - 1, 0)], kinds[rows, np.minimum(1, last)]
    codes: Codes = np.stack([ring, ring * (k + 1) + before, ring * (k + 1) + second], axis=1)
    return codes


def _pair_counts(kinds: npt.NDArray[np.int8], k: int) -> Matrix:
    """Returns how often each kind follows each other one, with `k` for the ends."""
    ends = np.full((len(kinds), 1), k, np.int8)
    padded = np.concatenate([ends, kinds, ends], axis=1).astype(np.int64)
    codes = padded[:, :-1] * (k + 1) + padded[:, 1:]
    width = (k + 1) ** 2
    rows = np.arange(len(kinds))[:, None] * width
    counted = np.bincount((codes + rows).ravel(), minlength=len(kinds) * width)
    pairs: Matrix = counted.reshape(len(kinds), width).astype(np.float64)
    pairs[:, -1] = 0  # what lies behind the end says nothing
    return pairs
