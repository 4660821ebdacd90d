"""Searches by the unique beginning of their id."""

from __future__ import annotations

import re
from collections.abc import Iterable

from brainformer.search.errors import InvalidInput

SHORTEST = 3
PATH = re.compile(rf"/searches/([0-9A-Za-z-]{{{SHORTEST},}})(/.*)?")


def named_search(path: str) -> str | None:
    """Returns what a path may name a search by the beginning of, None if it names none."""
    match = PATH.fullmatch(path)
    return None if match is None else match[1]


def whole_path(path: str, ids: Iterable[str]) -> str | None:
    """Returns the path with the one id that begins as it says; None if none does.

    Raises:
        InvalidInput: several ids do.
    """
    start = named_search(path)
    if start is None:
        return None
    found = sorted({one for one in ids if one.startswith(start) and one != start})
    if len(found) > 1:
        raise InvalidInput(
            f"{len(found)} searches have an id that begins with {start}; give more of it",
            ", ".join(found[:5]),
        )
    return path.replace(start, found[0], 1) if found else None
