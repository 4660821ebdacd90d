"""Lease claims that wait for work: those that want the same stand in one line.

When one trial turns up, a hundred idle dispatchers must not open a hundred transactions: the first
of each line asks, then the next, until one finds nothing; the rest go on waiting without asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from brainformer.search.trials.lease_messages import ClaimRequest

Wish = tuple[str, frozenset[tuple[str, str]] | None]


@dataclass
class Line:
    """Claims with the same wish.

    Attributes:
        empty_at: The hub's count of work at which one of them found nothing.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    empty_at: int = -1

    @asynccontextmanager
    async def asking(self, work: int) -> AsyncIterator[bool]:
        """Yields, when it is this claim's turn, whether to ask; no if it would find nothing."""
        async with self.turn:
            yield self.empty_at < work


class WaitingClaims:
    """Counts the claims that wait, and lines them up."""

    def __init__(self) -> None:
        self._lines: dict[Wish, Line] = {}

    def total(self) -> int:
        """Returns how many wait now."""
        return sum(line.waiting for line in self._lines.values())

    @contextmanager
    def queued(self, wanted: ClaimRequest) -> Iterator[Line]:
        """Yields the line in which a claim waits while the block runs."""
        wish = wanted.pool, _frozen(wanted.datasets)
        line = self._lines.setdefault(wish, Line())
        line.waiting += 1
        try:
            yield line
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[wish]


def _frozen(datasets: Mapping[str, str] | None) -> frozenset[tuple[str, str]] | None:
    return None if datasets is None else frozenset(datasets.items())
