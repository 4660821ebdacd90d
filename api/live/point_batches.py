"""Points of learning curves that come at about the same time are written in one transaction.

Each point locks its search, moves its counters and adds an event. A fleet reports a hundred of
them a second, for the same few searches; written together they cost a third, and nobody's work
hangs on the tenth of a second that they may wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass

from brainformer.api.live.threads import Threads
from brainformer.search.storage_errors import StorageError, StorageHeld
from brainformer.search.store.contract import SearchStore
from brainformer.search.store.patience import Patience, patience
from brainformer.search.trials.lease_messages import Directive, Progress

GATHER_SECONDS = 0.1  # between the beginnings of two batches
MOST_POINTS = 64  # of one batch


@dataclass(frozen=True)
class Waiting:
    """A report that waits for its batch.

    Attributes:
        lease_id: As claimed.
        report: With a point.
        caller: How long they wait.
        answer: What the caller gets.
    """

    lease_id: str
    report: Progress
    caller: Patience
    answer: asyncio.Future[Directive]

    @property
    def left(self) -> float:
        """How many seconds the caller still waits."""
        return max(0.0, self.caller.left() or 0.0)

    def settle(self, answer: Directive | Exception) -> None:
        """Gives the caller their answer, if they are still there."""
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class PointBatches:
    """Takes reports with a point; one batch is written at a time, the next one gathers meanwhile.

    A report that comes alone is written at once.

    Args:
        store: Where they go.
    """

    def __init__(self, store: SearchStore) -> None:
        self.threads = Threads(1)
        self._store = store
        self._queue: deque[Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._next_at = 0.0  # by the loop's clock

    async def tell(self, lease_id: str, report: Progress) -> Directive:
        """Returns the controller's answer to a report, once the report is written.

        Raises:
            LeaseLost: another attempt holds the trial, or it has ended.
            NotFound: there never was such a lease.
            StorageError: the database cannot serve, or not in time.
        """
        loop = asyncio.get_running_loop()
        with patience() as caller:
            mine = Waiting(lease_id, report, caller, loop.create_future())
            self._queue.append(mine)
            if self._writer is None or self._writer.done():
                # In a context of its own: the first caller's patience and request are not theirs.
                self._writer = loop.create_task(self._write_all(), context=Context())
            return await mine.answer

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            if len(self._queue) < MOST_POINTS:
                await asyncio.sleep(max(0.0, self._next_at - loop.time()))
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MOST_POINTS))]
            self._next_at = loop.time() + GATHER_SECONDS
            await self._write([one for one in batch if self._in_time(one)])

    def _in_time(self, one: Waiting) -> bool:
        """Returns whether a report can still be written in time; refuses it if not."""
        if not one.caller.too_late():
            return True
        one.settle(StorageHeld("it cannot take reports as fast as they come; report again later"))
        return False

    async def _write(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        answers: Sequence[Directive | Exception]
        try:
            with patience(min(one.left for one in batch)):
                asked = [(one.lease_id, one.report) for one in batch]
                answers = await self.threads.run(self._store.points, asked)
        except StorageError as error:
            answers = [error] * len(batch)
        except Exception:  # noqa: BLE001 one of them is at fault; each for itself
            answers = [await self._alone(one) for one in batch]
        for one, answer in zip(batch, answers, strict=True):
            one.settle(answer)

    async def _alone(self, one: Waiting) -> Directive | Exception:
        try:
            with patience(one.left):
                return await self.threads.run(self._store.progress, one.lease_id, one.report)
        except Exception as error:  # noqa: BLE001 handed to whoever asked
            return error
