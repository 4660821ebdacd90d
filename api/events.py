"""News within the controller: wakes event streams and waiting claims without holding a thread.

One task asks the database for new events, at once after each change that this controller made and
every `poll_seconds` for what others did. Streams read the last events from memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.concurrency import run_in_threadpool

from api.errors import HttpProblem
from search.errors import BrainformerError
from search.records import EventRecord
from search.store import SearchStore

log = logging.getLogger("brainformer.events")
REMEMBERED = 2_000
BATCH = 500
# Changes within this time are read together.
GATHER_SECONDS = 0.02


class EventHub:
    """Knows the newest events and wakes whoever waits for them."""

    def __init__(self, store: SearchStore, *, poll_seconds: float, reap_seconds: float) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._reap_seconds = reap_seconds
        self._recent: deque[EventRecord] = deque(maxlen=REMEMBERED)
        self._complete_after = 0  # every event with a greater seq is in `_recent`
        self._newest = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._poked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.closing = False

    async def start(self) -> None:
        """Starts the tasks that read events and reap expired leases."""
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(BrainformerError):
            self._newest = await run_in_threadpool(self._store.last_event)
        self._complete_after = self._newest
        self._tasks = [
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._reap()),
        ]

    def close(self) -> None:
        """Ends every stream and every waiting claim soon; harmless when repeated."""
        self.closing = True
        self._wake()

    async def stop(self) -> None:
        """Ends the tasks."""
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def poke(self) -> None:
        """Says, from any thread, that this controller changed something."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._poked.set)

    async def after(self, seq: int, search_id: str | None) -> tuple[list[EventRecord], int]:
        """Returns events after `seq`, and up to where the caller has now read."""
        if seq >= self._complete_after:
            found = [event for event in self._recent if event.seq > seq]
            mine = [event for event in found if search_id in (None, event.search_id)]
            return mine[:BATCH], mine[BATCH - 1].seq if len(mine) > BATCH else self._newest
        read = await run_in_threadpool(
            self._store.events, search_id=search_id, after=seq, limit=BATCH
        )
        reached = read[-1].seq if len(read) == BATCH else max(self._complete_after, seq)
        if read:
            reached = max(reached, read[-1].seq)
        return read, reached

    async def wait(self, seconds: float) -> bool:
        """Returns when there is news or the hub closes (True), or the time is over (False)."""
        if self.closing:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            done, _ = await asyncio.wait((waiter,), timeout=seconds)
            return bool(done)
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in tuple(self._waiters):
            if not waiter.done():
                waiter.set_result(None)

    async def _follow(self) -> None:
        while not self.closing:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), self._poll_seconds)
            await asyncio.sleep(GATHER_SECONDS)
            self._poked.clear()
            try:
                found = await run_in_threadpool(self._store.events, after=self._newest, limit=BATCH)
            except BrainformerError as error:
                log.warning("events cannot be read: %s", error.message)
                await asyncio.sleep(self._poll_seconds)
                continue
            if found:
                self._remember(found)
                self._wake()
                if len(found) == BATCH:
                    self._poked.set()

    def _remember(self, found: Sequence[EventRecord]) -> None:
        for event in found:
            if len(self._recent) == REMEMBERED:
                self._complete_after = self._recent[0].seq
            self._recent.append(event)
        self._newest = found[-1].seq

    async def _reap(self) -> None:
        while not self.closing:
            await asyncio.sleep(self._reap_seconds)
            try:
                if await run_in_threadpool(self._store.reap):
                    self.poke()
            except BrainformerError as error:
                log.warning("leases cannot be reaped: %s", error.message)
            except Exception:
                log.exception("reaping failed")


class WaitingClaims:
    """Counts the claims that wait."""

    def __init__(self) -> None:
        self._count = 0

    def total(self) -> int:
        """Returns how many wait now."""
        return self._count

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts a claim while the block runs."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class StreamLimit:
    """Counts open streams: so many in all, so many from one address."""

    def __init__(self, total: int, per_client: int) -> None:
        self._total = total
        self._per_client = per_client
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many are open now."""
        return self._open.total()

    @contextmanager
    def taken(self, client: str) -> Iterator[None]:
        """Counts a stream while the block runs.

        Raises:
            HttpProblem: 429, there are too many.
        """
        if self.open >= self._total or self._open[client] >= self._per_client:
            raise HttpProblem(
                429,
                "too many event streams are open; close some and come back",
                code="too_many_streams",
                headers={"Retry-After": "5"},
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
