"""Which trials a table shows, in which order: sorted and filtered without reading their rows."""

from __future__ import annotations

import numpy as np

from brainformer.search.charts.columns import KIND_CODES, STATUS_CODES, Flags, Floats, Integers
from brainformer.search.charts.overview import SearchDigest

SORTS = ("number", "fitness", "loss", "step_time_ms", "parameters", "finished", "status", "pool")


def ordered(digest: SearchDigest, shown: Flags, sort: str) -> Integers:
    """Returns the trials shown, sorted; a leading minus descends, missing values come last."""
    name, descending = sort.removeprefix("-"), sort.startswith("-")
    at = np.flatnonzero(shown)
    values = _values(digest, name)[at]
    missing = np.isnan(values)
    order = np.lexsort((-at, np.where(missing, 0, -values if descending else values), missing))
    found: Integers = at[order]
    return found


def _values(digest: SearchDigest, name: str) -> Floats:
    columns = digest.columns
    if name == "number":
        return np.arange(columns.size, dtype=np.float64)
    if name == "fitness":
        return digest.fitness()
    if name == "loss":
        return digest.loss()
    if name in {"status", "pool"}:
        words = list(STATUS_CODES) if name == "status" else columns.pools.known
        places = np.argsort(np.argsort(words)).astype(np.float64)
        codes = columns.whole(name)
        return np.where(codes < 0, np.nan, np.append(places, np.nan)[codes])
    return columns.figure(name)


def said_by_columns(digest: SearchDigest, word: str) -> Flags | None:
    """Returns which trials a filter's word means by their columns; None if it means text.

    Known are statuses, kinds, outcomes, pools, `population`, `#12` and `parent:12`.
    """
    columns = digest.columns
    if word.startswith("#") and word[1:].isdigit():
        alone = np.zeros(columns.size, bool)
        alone[int(word[1:]) : int(word[1:]) + 1] = True
        return alone
    if word.startswith("parent:") and word[7:].isdigit():
        return columns.equal("parent", int(word[7:]))
    if word in STATUS_CODES:
        return columns.equal("status", STATUS_CODES[word])
    if word in KIND_CODES:
        return columns.equal("kind", KIND_CODES[word])
    if word == "population":
        return digest.members
    for name, words in (("pool", columns.pools.known), ("outcome", columns.outcomes.known)):
        if word in words:
            return columns.equal(name, words.index(word))
    return None
