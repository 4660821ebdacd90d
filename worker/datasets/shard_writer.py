"""Shards of one split: written as tokens come, and held-out ones again without what is repeated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.manifest import Shard, Tokens, content_digest, token_dtype
from brainformer.worker.datasets.overlap import Mask, repeated, runs_kept
from brainformer.worker.datasets.tokenizers import Tokenizer

SHORTEST_PIECE = 16  # tokens of held-out text worth keeping between two gaps


class ShardWriter:
    """Collects tokens and writes a shard whenever enough have come together."""

    def __init__(self, place: Path, name: str, tokenizer: Tokenizer, shard_tokens: int) -> None:
        self._place = place
        self._name = name
        self._tokenizer = tokenizer
        self._limit = shard_tokens
        self._parts: list[Tokens] = []
        self._tokens = 0
        self._text_bytes = 0
        self._shards: list[Shard] = []

    def add(self, document: str) -> None:
        """Adds a document's tokens."""
        tokens = self._tokenizer.encode(document)
        if len(tokens) and int(tokens.max()) >= self._tokenizer.vocab_size:
            raise InvalidData(
                f"the {self._tokenizer.kind} tokenizer gave a token outside its vocabulary of "
                f"{self._tokenizer.vocab_size}; its file is damaged",
                int(tokens.max()),
            )
        self._parts.append(tokens.astype(token_dtype(self._tokenizer.vocab_size)))
        self._tokens += len(tokens)
        own = document.encode("utf-8")
        # Under byte tokens the end-of-document byte is part of the text, so a token is a byte.
        self._text_bytes += len(tokens) if self._tokenizer.kind == "bytes" else len(own)
        if self._tokens >= self._limit:
            self._flush()

    def close(self) -> list[Shard]:
        """Writes the last shard and returns them all."""
        if self._tokens:
            self._flush()
        return self._shards

    def _flush(self) -> None:
        tokens = np.concatenate(self._parts)
        file = f"{self._name}-{len(self._shards):05d}.npy"
        self._shards.append(_written(self._place, file, tokens, self._text_bytes))
        self._parts, self._tokens, self._text_bytes = [], 0, 0


def without_repeats(
    place: Path, shards: list[Shard], others: Iterable[Shard], tokenizer: Tokenizer
) -> tuple[list[Shard], int]:
    """Writes held-out shards again without what stands in the others; returns how much went.

    What is left of a document on both sides of a gap is kept apart by an end-of-document token,
    where the tokenizer has one.

    Args:
        place: The folder of all shards.
        shards: Of the held-out split; one that nothing is left of is removed.
        others: Of the splits that it must not repeat.
        tokenizer: Counts the text that goes.

    Returns:
        The shards that are left, and the number of tokens that were left out.
    """
    rest, kept, gone = list(others), [], 0
    for shard in shards:
        tokens = _read(place, shard)
        mask = _with_scraps(repeated(tokens, (_read(place, other) for other in rest)))
        left_out = int(mask.sum())
        if not left_out:
            kept.append(shard)
            continue
        gone += left_out
        (place / shard.file).unlink()
        if left_out < len(tokens):
            kept.append(_cut(place, shard, tokens, mask, tokenizer))
    return kept, gone


def _with_scraps(mask: Mask) -> Mask:
    """Returns the mask with what lies between two gaps and is too short to predict anything."""
    wider = mask.copy()
    for start, end in runs_kept(mask):
        if end - start < SHORTEST_PIECE and (start > 0 or end < len(mask)):
            wider[start:end] = True
    return wider


def _cut(place: Path, shard: Shard, tokens: Tokens, mask: Mask, tokenizer: Tokenizer) -> Shard:
    """Writes the shard again without the masked tokens."""
    row = _joined([tokens[start:end] for start, end in runs_kept(mask)], tokenizer.end)
    if tokenizer.kind == "bytes":
        return _written(place, shard.file, row, len(row))
    removed = [tokens[start:end].tolist() for start, end in runs_kept(~mask)]
    text_bytes = shard.text_bytes - sum(map(tokenizer.text_bytes, removed))
    return _written(place, shard.file, row, max(0, text_bytes))


def _joined(pieces: list[Tokens], end: int | None) -> Tokens:
    """Returns the pieces in a row, apart by `end` where none stands there already."""
    row: list[Tokens] = []
    for piece in pieces:
        if row and end is not None and row[-1][-1] != end:
            row.append(np.array([end], piece.dtype))
        row.append(piece)
    return np.concatenate(row)


def _read(place: Path, shard: Shard) -> Tokens:
    tokens: Tokens = np.load(place / shard.file, mmap_mode="r", allow_pickle=False)
    return tokens


def _written(place: Path, file: str, tokens: Tokens, text_bytes: int) -> Shard:
    np.save(place / file, tokens, allow_pickle=False)
    digest = content_digest(tokens)
    return Shard(file=file, tokens=len(tokens), text_bytes=text_bytes, sha256=digest)
