"""Who descends from whom: the population's ancestors, the best one's line, a trial's children."""

from __future__ import annotations

import numpy as np

from brainformer.search.charts.columns import CANDIDATE, NOBODY, STATUSES, Flags, Integers, plain
from brainformer.search.charts.overview import DIGITS, SearchDigest, numbers_or_none
from brainformer.search.charts.pictures import Lineage

MOST = 2_000


def lineage(digest: SearchDigest, *, best: int | None, root: int | None = None) -> Lineage:
    """Returns the population with all its ancestors, or the descendants of `root`.

    Where they are more than 2,000, the youngest are left out and `cut` is set.
    """
    columns = digest.columns
    parent = columns.whole("parent")
    if root is None:
        kept = digest.members.copy()
        kept[line_of(parent, best)] = True
        at = np.flatnonzero(with_ancestors(parent, kept))
    else:
        # Repeats name what they repeat as their parent, and descend from nobody.
        at = np.flatnonzero(descendants(parent, root) & (columns.whole("kind") == CANDIDATE))
    cut = len(at) > MOST
    at = at[:MOST] if root is not None else at[-MOST:]
    return Lineage(
        number=at.tolist(),
        parent=numbers_or_none(parent[at]),
        fitness=plain(columns.figure("fitness")[at], DIGITS),
        pool=columns.whole("pool")[at].tolist(),
        status=[STATUSES[code] for code in columns.whole("status")[at].tolist()],
        member=digest.members[at].tolist(),
        best=line_of(parent, best),
        pools=columns.pools.known,
        cut=cut,
    )


def line_of(parent: Integers, number: int | None) -> list[int]:
    """Returns a trial and its ancestors, the youngest first."""
    line: list[int] = []
    at = NOBODY if number is None or number >= len(parent) else number
    while at != NOBODY and len(line) <= len(parent):
        line.append(int(at))
        at = int(parent[at])
    return line


def with_ancestors(parent: Integers, kept: Flags) -> Flags:
    """Returns the trials given and all their ancestors."""
    found = kept.copy()
    for start in np.flatnonzero(kept).tolist():
        above = int(parent[start])
        while above != NOBODY and above < len(parent) and not found[above]:
            found[above] = True
            above = int(parent[above])
    return found


def descendants(parent: Integers, root: int) -> Flags:
    """Returns a trial and all that descend from it. Parents are older than their children."""
    found = np.zeros(len(parent), bool)
    if root >= len(parent):
        return found
    found[root] = True
    new = np.asarray([root])
    while new.size:
        is_new = np.zeros(len(parent) + 1, bool)
        is_new[new] = True
        children = is_new[np.where(parent == NOBODY, len(parent), parent)] & ~found
        new = np.flatnonzero(children)
        found[new] = True
    return found
