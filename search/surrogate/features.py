"""What the surrogate sees of genomes: sub-layers by place, and what they hold in total.

Places tell which sub-layer follows which; totals tell the ratio of layer types, which the paper
finds to matter more than their order (arXiv:2306.00008, ablation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from brainformer.search.space.coded_genome import NOTHING, CodedGenome, GenomeCoder
from brainformer.search.space.space import Choice
from brainformer.search.trials.history import Observation

Matrix = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Masks = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Features:
    """Genomes as arrays, one row each; `L` is the space's longest block, `K` its kinds.

    Arrays that distances are taken of end with a column of ones and one of the rows' squared
    lengths: with these a distance is one product of matrices.

    Attributes:
        length: `L`.
        places: Where each kind stands, one bit a place; behind the end of the block the kind
            numbered `K`; shape (n, K + 1).
        around: What a stacked block has around its end: the last kind and the first, the last two
            and the first, the last and the first two, each with the length; shape (n, 3).
        details: Choices of every field by place, and the model dim; shape (n, L * F + D + 2).
        pairs: How often one kind follows another, the ends too; shape (n, (K + 1) ** 2).
        counts: Sub-layers by kind; shape (n, K + 2).
        totals: Sub-layers by kind, then choices of every field, summed over places, and the model
            dim; shape (n, K + F + D + 2).
    """

    length: int
    places: Masks
    around: Codes
    details: Matrix
    pairs: Matrix
    counts: Matrix
    totals: Matrix

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shares(self) -> Matrix:
        """Choices of every field, summed over places, and the model dim; shape (n, F + D)."""
        return self.totals[:, self.counts.shape[1] - 2 : -2]

    def joined(self, others: Features) -> Features:
        """Returns these rows and then the others."""
        return Features(
            length=self.length,
            places=np.concatenate([self.places, others.places]),
            around=np.concatenate([self.around, others.around]),
            details=np.concatenate([self.details, others.details]),
            pairs=np.concatenate([self.pairs, others.pairs]),
            counts=np.concatenate([self.counts, others.counts]),
            totals=np.concatenate([self.totals, others.totals]),
        )


class FeatureMap:
    """Maps the coded genomes of one space to `Features`.

    A field of numbers is one column (its choice's rank, from 0 to 1); a field of words is a column
    a word. Columns of one sub-layer are scaled so that two that differ in every field are a unit
    apart, whatever the number of fields.
    """

    def __init__(self, coder: GenomeCoder) -> None:
        space = coder.space
        self._coder = coder
        self.places = space.max_layers
        self.kinds = coder.kinds
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
        self._known = 0
        # Of each code, a column a kind and the columns of its fields.
        self._table: Matrix = np.zeros((0, len(self.kinds) + width))
        self._kind_numbers: npt.NDArray[np.int8] = np.zeros(0, np.int8)  # of each sub-layer

    @property
    def detailed(self) -> bool:
        """Whether genomes of this space differ in more than the kinds of their sub-layers."""
        return self._width > 0 or len(self._no_dim) > 0

    def __call__(self, genomes: Sequence[CodedGenome]) -> Features:
        """Returns one row a genome."""
        n, k = len(genomes), len(self.kinds)
        lengths = np.array([len(one.codes) for one in genomes], int)
        codes = np.full((n, self.places), NOTHING)
        codes[np.arange(self.places) < lengths[:, None]] = np.fromiter(
            chain.from_iterable([one.codes for one in genomes]), int, int(lengths.sum())
        )
        if self._known < len(self._coder):
            self._learn()
        kinds, shown = self._kind_numbers[codes], self._table.take(codes, axis=0)
        by_place, dim = self.places * self._width, len(self._no_dim)
        details = _rows_for_distances(n, by_place + dim)
        totals = _rows_for_distances(n, k + self._width + dim)
        counts = _rows_for_distances(n, k)
        details[:, :by_place] = shown[:, :, k:].reshape(n, by_place)
        np.einsum("nlc->nc", shown, out=totals[:, : k + self._width])
        counts[:, :k] = totals[:, :k]
        if dim:
            chosen = [self._dims.get(one.model_dim, self._no_dim) for one in genomes]
            dims = np.array(chosen).reshape(n, dim)
            details[:, by_place:-2] = dims
            totals[:, k + self._width : -2] = dims * self.places
        for rows in (counts, details, totals):
            np.einsum("nc,nc->n", rows[:, :-2], rows[:, :-2], out=rows[:, -1])
        return Features(
            length=self.places,
            places=_masks(kinds, k),
            around=_around(kinds, lengths, k),
            details=details,
            pairs=_pair_counts(kinds, k),
            counts=counts,
            totals=totals,
        )

    def of_observed(self, observations: Sequence[Observation]) -> Features:
        """Returns one row a candidate."""
        return self([self._coder.encode(seen.genome) for seen in observations])

    def _learn(self) -> None:
        """Describes the sub-layers that the coder has met since the last time."""
        known, met = self._known, len(self._coder)
        if met > len(self._table):  # twice as many, so that few of them cost a copy
            self._table = np.concatenate([self._table, np.zeros((met, self._table.shape[1]))])
            self._kind_numbers = np.concatenate([self._kind_numbers, np.zeros(met, np.int8)])
        for code in range(known, met):
            kind = self._coder.kind_of[code]
            number = self.kinds.index(kind) if kind in self.kinds else len(self.kinds)
            self._kind_numbers[code] = number
            of_kinds, of_fields = np.split(self._table[code], [len(self.kinds)])
            of_kinds[number : number + 1] = 1
            fields = self._fields.get(kind, [])
            for name, start, shown in fields:
                values = shown.get(getattr(self._coder.layers[code], name))
                if values is not None:  # a seed or a baseline may lie outside the space
                    of_fields[start : start + len(values)] = values
            of_fields /= max(len(fields), 1) ** 0.5
        self._known = met


def _columns(choices: Sequence[Choice]) -> dict[Choice, Matrix]:
    """Returns the columns of each choice: its rank among numbers, or one column a word."""
    if len(choices) < 2:
        return {choice: np.zeros(0) for choice in choices}
    if all(isinstance(choice, int | float) for choice in choices):
        ranked = sorted(choices)
        return {choice: np.array([at / (len(ranked) - 1)]) for at, choice in enumerate(ranked)}
    return dict(zip(choices, np.eye(len(choices)) * 0.5**0.5, strict=True))


def _rows_for_distances(n: int, columns: int) -> Matrix:
    """Returns room for rows, for their ones and for their squared lengths."""
    rows = np.empty((n, columns + 2))
    rows[:, -2] = 1
    return rows


def _masks(kinds: npt.NDArray[np.int8], k: int) -> Masks:
    """Returns the places of each kind as bits of the shortest number that has as many."""
    places = kinds.shape[1]
    size = next(size for size in (1, 2, 4, 8) if 8 * size >= places)
    is_kind = np.zeros((len(kinds), k + 1, 8 * size), np.bool)
    np.equal(kinds[:, None, :], np.arange(k + 1)[:, None], out=is_kind[:, :, :places])
    bits = np.packbits(is_kind, axis=2, bitorder="little")
    return bits.view(f"<u{size}")[:, :, 0]


def _around(kinds: npt.NDArray[np.int8], lengths: npt.NDArray[np.int_], k: int) -> Codes:
    """Returns, as numbers, which kinds meet where the next block begins.

    In a block of one sub-layer its neighbours read as whatever stands beside it: the same in all.
    """
    rows, last = np.arange(len(kinds)), lengths - 1
    ring = (lengths * (k + 1) + kinds[rows, last]) * (k + 1) + kinds[:, 0]
    codes = np.empty((len(kinds), 3), np.int32)
    codes[:, 0] = ring
    ring *= k + 1
    np.add(ring, kinds[rows, last - 1], out=codes[:, 1], casting="same_kind")
    np.add(ring, kinds[:, min(1, kinds.shape[1] - 1)], out=codes[:, 2], casting="same_kind")
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
