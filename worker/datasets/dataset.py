"""An open data set: memory-mapped token shards, and deterministic batches of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.manifest import Manifest, Tokens

Batch = npt.NDArray[np.int32]


class Split:
    """The token shards of one split, memory-mapped.

    Args:
        shards: One-dimensional arrays of tokens; a window never crosses two of them.
        name: How messages call it.
    """

    def __init__(self, shards: list[Tokens], *, name: str) -> None:
        self._shards = shards
        self.name = name
        self.tokens = sum(len(shard) for shard in shards)

    def batch(self, *, seed: int, step: int, batch_size: int, length: int) -> Batch:
        """Returns random windows, the same for the same seed and step: int32 [batch, length].

        Nothing is carried from step to step, so a resumed trial goes on with the same batches.

        Raises:
            InvalidData: no shard is as long as one window.
        """
        starts, total = self._starts(length)
        rng = np.random.default_rng([seed, step])
        return self._windows(rng.integers(0, total, batch_size), starts, length)

    def fixed_windows(self, *, count: int, length: int) -> Batch:
        """Returns up to `count` evenly spaced windows: int32 [windows, length].

        Raises:
            InvalidData: no shard is as long as one window.
        """
        starts, total = self._starts(length)
        count = max(1, min(count, total))
        return self._windows(np.linspace(0, total - 1, count).astype(np.int64), starts, length)

    def in_order(self, length: int) -> Iterator[tuple[int, Tokens]]:
        """Yields each shard's number and its windows in order, the last of them shorter.

        A window has up to `length` + 1 tokens and begins with the last one of the window before, so
        that every token but a shard's first is predicted once.
        """
        for number, shard in enumerate(self._shards):
            for start in range(0, len(shard) - 1, length):
                yield number, shard[start : start + length + 1]

    def _starts(self, length: int) -> tuple[npt.NDArray[np.int64], int]:
        """Returns the running count of possible window starts per shard, and their sum."""
        counts = [max(0, len(shard) - length + 1) for shard in self._shards]
        ends = np.cumsum(np.asarray(counts or [0], np.int64))
        if ends[-1] == 0:
            raise InvalidData(
                f"the {self.name} split needs a shard of at least {length} tokens", self.tokens
            )
        return ends, int(ends[-1])

    def _windows(
        self, picks: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], length: int
    ) -> Batch:
        shards = np.searchsorted(ends, picks, side="right")
        out = np.empty((len(picks), length), np.int32)
        for row, (shard, pick) in enumerate(zip(shards, picks, strict=True)):
            start = pick - (ends[shard - 1] if shard else 0)
            out[row] = self._shards[shard][start : start + length]
        return out


@dataclass(frozen=True)
class Dataset:
    """An open data set.

    Attributes:
        test: What no search reads; None where the data set was prepared without.
        place: Its folder; None for one that is only in memory.
    """

    train: Split
    validation: Split
    test: Split | None
    manifest: Manifest
    place: Path | None = None

    def held_out(self, name: Literal["validation", "test"]) -> Split:
        """Returns one of the splits that nothing is trained on.

        Raises:
            InvalidData: the data set has no test split.
        """
        if name == "validation":
            return self.validation
        if self.test is None:
            raise InvalidData(
                f"data set {self.manifest.id} has no test split, which a promotion is judged by; "
                "prepare it again with a test-share above 0"
            )
        return self.test

    def check_fits(self, *, vocab_size: int, batch_size: int, length: int) -> None:
        """Checks that a proxy of these shapes can train on this data set.

        Raises:
            InvalidData: the vocabulary is larger than the model's, or there are fewer tokens
                than one batch.
        """
        name = self.manifest.id
        if self.manifest.vocab_size > vocab_size:
            raise InvalidData(
                f"data set {name} has {self.manifest.vocab_size} tokens in its vocabulary; "
                "the proxy's vocab_size must be at least that",
                vocab_size,
            )
        if self.train.tokens < batch_size * length:
            raise InvalidData(
                f"data set {name}: the train split must hold one batch of "
                f"{batch_size} x {length} tokens",
                self.train.tokens,
            )
