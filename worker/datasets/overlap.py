"""Text of a held-out split that stands verbatim in training: found, so that it can be left out.

A model that has seen a passage in training need not have learned anything to predict it. Passages
of `OVERLAP_TOKENS` tokens are compared by their hashes at every position (the exact-substring
deduplication of arXiv:2107.06499, at the sizes of one machine): the held-out ones are sorted, the
training split streams past them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from brainformer.worker.datasets.manifest import Tokens

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
OVERLAP_TOKENS = 64  # a power of two
CHUNK_TOKENS = 2**22
# Odd multipliers, one a doubling of the length (the fractional bits of square roots of primes).
MULTIPLIERS = (
    0x6A09E667F3BCC909,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
)


def repeated(held_out: Tokens, others: Iterable[Tokens]) -> Mask:
    """Returns which tokens lie in a passage that stands in one of the others too.

    Args:
        held_out: One shard, `[tokens]`.
        others: Shards of the splits that it must not repeat.
    """
    mask = np.zeros(len(held_out), np.bool_)
    own = passage_hashes(held_out)
    if not len(own):
        return mask
    known = np.unique(own)
    seen = np.zeros(len(known), np.bool_)
    for chunk in _chunks(others):
        hashes = passage_hashes(chunk)
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        seen[at[known[at] == hashes]] = True
    starts = np.flatnonzero(seen[np.searchsorted(known, own)])
    edges = np.zeros(len(held_out) + 1, np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + OVERLAP_TOKENS, -1)
    return np.asarray(np.cumsum(edges[:-1]) > 0)


def passage_hashes(tokens: Tokens) -> Hashes:
    """Returns the hash of the passage that starts at each token; none for a shorter shard."""
    hashes = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    hashes ^= hashes >> np.uint64(29)
    length = 1
    for multiplier in MULTIPLIERS:
        if len(hashes) <= length:
            return np.empty(0, np.uint64)
        hashes = hashes[:-length] * np.uint64(multiplier) + hashes[length:]
        hashes ^= hashes >> np.uint64(31)
        length *= 2
    return hashes


def runs_kept(mask: Mask) -> list[tuple[int, int]]:
    """Returns the stretches (start, end) of tokens that are not masked, in order."""
    padded = np.concatenate([[True], mask, [True]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _chunks(shards: Iterable[Tokens]) -> Iterator[Tokens]:
    """Yields pieces that overlap by a passage, so that none is missed between two."""
    for shard in shards:
        for start in range(0, max(1, len(shard) - OVERLAP_TOKENS + 1), CHUNK_TOKENS):
            yield np.asarray(shard[start : start + CHUNK_TOKENS + OVERLAP_TOKENS - 1])
