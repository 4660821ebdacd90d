"""Bits a byte of a model on a whole split, with a standard error over documents.

Windows of the model's length follow one another, so every token is predicted once, the first of a
window with nothing before it but one token: a figure that no choice of windows moves, and a little
higher than a sliding window's. The standard error is that of other documents of the same kind: a
bootstrap over documents, each with all its tokens, since tokens of one document are not
independent. Where a split has few documents, blocks of tokens take their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from jaxtyping import Array, Float, Int

from brainformer.model.decoder import Decoder, token_losses
from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.dataset import Dataset, Split
from brainformer.worker.datasets.splits import SplitName
from brainformer.worker.datasets.tokenizers import Tokenizer

FEWEST_DOCUMENTS = 20
BLOCK_WINDOWS = 8  # where documents are too few
RESAMPLES = 1000
RESAMPLES_AT_ONCE = 50
LN2 = math.log(2)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """How well a model predicts a split.

    Attributes:
        tokens: Predicted.
        loss: Nats a token.
        bits_per_byte: Of text, which no tokenizer changes.
        standard_error: Of the bits a byte; None for a single unit.
        units: What was drawn again for it: how many documents, or blocks of tokens.
    """

    split: SplitName
    tokens: int
    loss: float
    bits_per_byte: float
    standard_error: float | None
    unit: Literal["document", "block"]
    units: int


class _Window(NamedTuple):
    """Tokens of a window, and each document's number with the targets that belong to it."""

    tokens: npt.NDArray[Any]
    pieces: list[tuple[int, slice]]


class Evaluator:
    """A model that reads whole splits.

    Args:
        decoder: The model.
        length: Tokens that it reads at once.
        batch_size: Windows that are computed together.
    """

    def __init__(self, decoder: Decoder, *, length: int, batch_size: int) -> None:
        self._graph, self._state = nnx.split(decoder)
        self._length = length
        self._batch = batch_size

    def score(
        self,
        data: Dataset,
        split: SplitName,
        *,
        tokenizer: Tokenizer | None,
        most_tokens: int | None = None,
        tell: Callable[[float], None] = lambda _: None,
    ) -> Score:
        """Returns the model's score on a split.

        Args:
            data: With the model's tokens.
            split: Its name.
            tokenizer: Counts the text of documents; without it they share the split's by tokens.
            most_tokens: Evenly spaced windows with about so many tokens; None for all of them.
            tell: Told of the share that is done.

        Raises:
            InvalidData: the data set has no such split, or nothing to predict in it.
        """
        part: Split | None = getattr(data, split)
        name = data.manifest.id
        if part is None:
            raise InvalidData(f"data set {name} was prepared without a {split} split")
        if part.tokens < 2:
            raise InvalidData(f"the {split} split of data set {name} has nothing to predict")
        whole = math.ceil(part.tokens / self._length)
        every = 1 if most_tokens is None else max(1, whole * self._length // most_tokens)
        end = tokenizer.end if tokenizer else (0 if data.manifest.tokenizer == "bytes" else None)
        documents, blocks = _Totals(), _Totals()
        count = _byte_counter(tokenizer)
        chosen = _chosen(part, self._length, every, end)
        for index, (windows, losses) in enumerate(self._losses(chosen)):
            for place, (window, row) in enumerate(zip(windows, losses, strict=True)):
                targets = window.tokens[1:]
                block = (index * self._batch + place) // BLOCK_WINDOWS
                blocks.add(block, row, count(targets))
                for number, piece in window.pieces:
                    documents.add(number, row[piece], count(targets[piece]))
            tell(min(1.0, (index + 1) * self._batch * every / whole))
        by_document = end is not None and len(documents) >= FEWEST_DOCUMENTS
        units = documents if by_document else blocks
        share = _bytes_per_token(data, split)
        return _score(split, units, "document" if by_document else "block", share)

    def _losses(self, windows: Iterator[_Window]) -> Iterator[tuple[list[_Window], list[Floats]]]:
        """Yields windows with the loss of each of their tokens but the first."""
        for batch in _batches(windows, self._batch):
            tokens = np.zeros((self._batch, self._length + 1), np.int32)
            for row, window in enumerate(batch):
                tokens[row, : len(window.tokens)] = window.tokens
            found = np.asarray(_token_losses(self._graph, self._state, jnp.asarray(tokens)))
            yield (
                batch,
                [
                    found[row, : len(window.tokens) - 1].astype(np.float64)
                    for row, window in enumerate(batch)
                ],
            )


def bootstrap_error(nats: Floats, text_bytes: Floats, *, seed: int = 0) -> float | None:
    """Returns the standard error of sum(nats) / sum(bytes) in bits a byte, over units.

    Args:
        nats: Of each unit.
        text_bytes: Of each unit.
        seed: Of the resamples.
    """
    count = len(nats)
    if count < 2:
        return None
    rng = np.random.default_rng(seed)
    even = np.full(count, 1.0 / count)
    found = []
    for _ in range(RESAMPLES // RESAMPLES_AT_ONCE):
        times = rng.multinomial(count, even, RESAMPLES_AT_ONCE)
        found.append((times @ nats) / np.maximum(times @ text_bytes, 1.0))
    return float(np.std(np.concatenate(found), ddof=1) / LN2)


@partial(jax.jit, static_argnums=0)
def _token_losses(graph: Any, state: Any, tokens: Int[Array, "B S+1"]) -> Float[Array, "B S"]:
    model: Decoder = nnx.merge(graph, state)
    return token_losses(model, tokens)


class _Totals:
    """Nats, bytes and tokens by unit."""

    def __init__(self) -> None:
        self._found: dict[Any, list[float]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, unit: Any, losses: Floats, text_bytes: float) -> None:
        row = self._found.setdefault(unit, [0.0, 0.0, 0.0])
        row[0] += float(losses.sum())
        row[1] += text_bytes
        row[2] += len(losses)

    def columns(self) -> Floats:
        """Returns nats, bytes and tokens, a row each."""
        return np.asarray(list(self._found.values()), np.float64).T


class _Documents:
    """Tells which document a token belongs to, window after window of a split, none left out.

    Args:
        end: The token that ends a document; None where nothing tells.
    """

    def __init__(self, end: int | None) -> None:
        self._end = end
        self._shard, self._document = -1, 0

    def pieces(self, shard: int, tokens: npt.NDArray[Any]) -> Iterator[tuple[int, slice]]:
        """Yields each document's number with the targets of the window that belong to it."""
        if shard != self._shard:
            self._document += 1
        self._shard = shard
        ends = [] if self._end is None else np.flatnonzero(tokens == self._end).tolist()
        start, last = 0, len(tokens) - 1
        for place in ends:  # targets up to `place`, counted from 1 in the window's tokens
            if place > start:
                yield self._document, slice(start, place)
            if place < last or place == 0:
                self._document += 1
            start = place
        if start < last:
            yield self._document, slice(start, last)


def _chosen(part: Split, length: int, every: int, end: int | None) -> Iterator[_Window]:
    """Yields every so-manyth window; those between are read for the documents that end in them."""
    numbers = _Documents(end)
    for index, (shard, tokens) in enumerate(part.in_order(length)):
        pieces = list(numbers.pieces(shard, tokens))
        if index % every == 0:
            yield _Window(np.asarray(tokens), pieces)


def _batches(windows: Iterator[_Window], size: int) -> Iterator[list[_Window]]:
    batch: list[_Window] = []
    for window in windows:
        batch.append(window)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _bytes_per_token(data: Dataset, split: SplitName) -> float:
    """Returns bytes of text a token over the whole split."""
    shards = getattr(data.manifest, split)
    return float(sum(one.text_bytes for one in shards) / max(1, sum(one.tokens for one in shards)))


def _byte_counter(tokenizer: Tokenizer | None) -> Callable[[npt.NDArray[Any]], float]:
    """Returns what counts the bytes of text that tokens came from, or says how they compare."""
    if tokenizer is None or tokenizer.kind == "bytes":
        return lambda tokens: float(len(tokens))  # the end of a document is a byte, too
    return lambda tokens: float(tokenizer.text_bytes([int(one) for one in tokens]))


def _score(
    split: SplitName, units: _Totals, unit: Literal["document", "block"], bytes_per_token: float
) -> Score:
    """Returns the score; where a character is cut in two, counts are off and their sum is not."""
    nats, text_bytes, tokens = units.columns()
    whole = bytes_per_token * float(tokens.sum())
    text_bytes = text_bytes * (whole / max(1.0, float(text_bytes.sum())))
    return Score(
        split=split,
        tokens=int(tokens.sum()),
        loss=float(nats.sum() / tokens.sum()),
        bits_per_byte=float(nats.sum() / max(1.0, whole) / LN2),
        standard_error=bootstrap_error(nats, text_bytes),
        unit=unit,
        units=len(units),
    )
