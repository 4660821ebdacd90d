"""News within the controller: wakes event streams and waiting claims without holding a thread.

One supervised task asks the database for new events, at once after each change that this controller
made and every `poll_seconds` for what others did. Streams read the last events from memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from starlette.concurrency import run_in_threadpool

from brainformer.api.live.supervision import Supervisor
from brainformer.search.errors import BrainformerError
from brainformer.search.store.contract import SearchStore
from brainformer.search.store.records import EventRecord
from brainformer.search.store.retention import Retention
from brainformer.search.trials.events import EventKind

REMEMBERED = 2_000
BATCH = 500
# After these a claim that found nothing may find something.
WORK_EVENTS = frozenset(
    {
        EventKind.BASELINE_READY,
        EventKind.POOL_RESUMED,
        EventKind.POOL_RETIRED,  # it finds out that it may give up
        EventKind.POOL_RETURNED,
        EventKind.SEARCH_CREATED,
        EventKind.SEARCH_LIMITS,
        EventKind.SEARCH_STATUS,
        EventKind.TRIAL_CREATED,
        EventKind.TRIAL_REQUEUED,
    }
)
# Changes within this time are read together.
GATHER_SECONDS = 0.02
PULSE_SECONDS = 1.0
FORGET_SECONDS = 3600.0  # how often old rows are looked for
LOOK_SECONDS = 30.0  # how often whether that is due


class EventHub:
    """Knows the newest events and wakes whoever waits for them."""

    def __init__(
        self,
        store: SearchStore,
        *,
        poll_seconds: float,
        reap_seconds: float,
        on_event: Callable[[EventRecord], None],
        on_failure: Callable[[str], None],
        keep: Retention = Retention(),  # noqa: B008 - frozen
    ) -> None:
        self._store = store
        self._keep = keep
        self._forget_at = 0.0
        self._on_event = on_event
        self._poll_seconds = poll_seconds
        self._reap_seconds = reap_seconds
        self._recent: deque[EventRecord] = deque(maxlen=REMEMBERED)
        self._complete_after = 0  # every event with a greater seq is in `_recent`
        self._newest = 0
        self.work = 0  # rises with every event of WORK_EVENTS
        self._waiters: set[asyncio.Future[None]] = set()
        self._poked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = Supervisor(on_failure)
        self.closing = False

    async def start(self) -> None:
        """Starts the tasks that read events, reap expired leases and say that we serve."""
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(BrainformerError):
            self._newest = await run_in_threadpool(self._store.last_event)
        self._complete_after = self._newest
        self._store.pulse()
        self._tasks.start("events", self._follow, seconds=self._poll_seconds)
        self._tasks.start("reaper", self._reap, seconds=self._reap_seconds)
        self._tasks.start("pulse", self._beat, seconds=PULSE_SECONDS)
        self._tasks.start("retention", self._forget, seconds=LOOK_SECONDS)

    def problems(self) -> list[str]:
        """Returns what is wrong with the tasks, one sentence each; from any thread."""
        return [] if self._loop is None else self._tasks.problems(self._loop.time())

    def tasks_up(self) -> dict[str, bool]:
        """Returns of each task whether it goes well; from any thread."""
        return {} if self._loop is None else self._tasks.up(self._loop.time())

    def figures(self) -> dict[str, float]:
        """Returns of each task how long ago its last step ended; from any thread."""
        ages = {} if self._loop is None else self._tasks.ages(self._loop.time())
        return {f'task_seconds{{task="{name}"}}': age for name, age in ages.items()}

    def close(self) -> None:
        """Ends every stream and every waiting claim soon; harmless when repeated."""
        self.closing = True
        self._wake()

    async def stop(self) -> None:
        """Ends the tasks."""
        self.close()
        await self._tasks.stop()

    def poke(self) -> None:
        """Says, from any thread, that this controller changed something."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._poked.set)

    async def after(self, seq: int, search_id: str | None) -> tuple[list[EventRecord], int]:
        """Returns events after `seq`, and up to where the caller has now read."""
        known_from = self._complete_after
        if seq >= known_from:
            mine = self._remembered(seq, search_id)
            return mine[:BATCH], mine[BATCH - 1].seq if len(mine) > BATCH else self._newest
        read = await run_in_threadpool(
            self._store.events, search_id=search_id, after=seq, limit=BATCH
        )
        if len(read) == BATCH:
            return read, read[-1].seq
        # Whatever is as old as `known_from` was in the database before it was read.
        return read, max(known_from, read[-1].seq if read else seq)

    def _remembered(self, seq: int, search_id: str | None) -> list[EventRecord]:
        """Returns what is remembered after `seq`, oldest first; looks at no older event."""
        found: list[EventRecord] = []
        for event in reversed(self._recent):
            if event.seq <= seq:
                break
            if search_id in (None, event.search_id):
                found.append(event)
        return found[::-1]

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

    async def wait_for_work(self, seen: int, seconds: float) -> None:
        """Returns when `work` is no longer `seen`, the hub closes, or the time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self.work == seen and not self.closing and loop.time() < end:
            await self.wait(end - loop.time())

    def _wake(self) -> None:
        for waiter in tuple(self._waiters):
            if not waiter.done():
                waiter.set_result(None)

    async def _follow(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._poked.wait(), self._poll_seconds)
        await asyncio.sleep(GATHER_SECONDS)
        self._poked.clear()
        found = await run_in_threadpool(self._store.events, after=self._newest, limit=BATCH)
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
            self.work += event.kind in WORK_EVENTS
            self._on_event(event)
        self._newest = found[-1].seq

    async def _reap(self) -> None:
        await asyncio.sleep(self._reap_seconds)
        if await run_in_threadpool(self._store.reap):
            self.poke()

    async def _forget(self) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        now = asyncio.get_running_loop().time()
        if now < self._forget_at:
            return
        while await run_in_threadpool(self._store.care.forget_old, self._keep):
            await asyncio.sleep(GATHER_SECONDS)  # others write meanwhile
        self._forget_at = now + FORGET_SECONDS

    async def _beat(self) -> None:
        self._store.pulse()
        await asyncio.sleep(PULSE_SECONDS)
