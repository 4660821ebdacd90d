"""Lease claims that wait: for work, those that want the same in one line, and for their turn.

When one trial turns up, a hundred idle dispatchers must not open a hundred transactions: the first
of each line asks, then the next, until one finds nothing; the rest go on waiting without asking.
When ten thousand workers start at once, a few ask at a time: searches are changed one after another
anyway, and claims that wait for a connection would keep heartbeats and results from theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from brainformer.search.trials.lease_messages import ClaimRequest

CLAIMS_AT_ONCE = 1
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


class Turns:
    """Lets a few claims ask the database at a time, in the order in which they came."""

    def __init__(self, most: int = CLAIMS_AT_ONCE) -> None:
        self._free = asyncio.Semaphore(most)

    @asynccontextmanager
    async def turn(self, seconds: float) -> AsyncIterator[bool]:
        """Yields whether the turn came within so many seconds; whoever has it holds it inside."""
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            self._free.release()


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
