"""Which workers a transaction heard of, written at its end in one order.

A transaction may touch several workers, and several transactions the same ones. Written last and
sorted, their rows are always taken after those of searches and trials and never in a circle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection, Executable, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite

from brainformer.search.sql.connection.tables import workers

SEEN_AGAIN = (
    update(workers)
    .where(workers.c.worker_id == bindparam("worker"))
    .values(last_seen=bindparam("seen"), finished=workers.c.finished + bindparam("more"))
)


@dataclass
class SeenWorker:
    """What one transaction has to write of one worker."""

    pool: str | None = None
    finished: int = 0


class WorkersSeen:
    """The workers that a transaction heard of."""

    def __init__(self) -> None:
        self._seen: dict[str, SeenWorker] = {}

    def __bool__(self) -> bool:
        return bool(self._seen)

    def add(self, worker_id: str, *, pool: str | None = None, finished: int = 0) -> None:
        """Notes a worker: with its pool where it may be a new one, and results recorded."""
        worker = self._seen.setdefault(worker_id, SeenWorker())
        worker.pool = pool or worker.pool
        worker.finished += finished

    def write(self, connection: Connection, now: Callable[[], float]) -> None:
        """Writes them all."""
        if not self._seen:
            return
        seen, again = now(), []
        for worker_id in sorted(self._seen):
            worker = self._seen[worker_id]
            if worker.pool is None:
                again.append({"worker": worker_id, "seen": seen, "more": worker.finished})
                continue
            _write_again(connection, again)
            _claimed(connection, worker_id, worker.pool, seen)
        _write_again(connection, again)
        self._seen.clear()


def _write_again(connection: Connection, workers_seen: list[dict[str, object]]) -> None:
    """Writes those that are known already, in one go, and forgets them."""
    if workers_seen:
        connection.execute(SEEN_AGAIN, workers_seen)
        workers_seen.clear()


def _claimed(connection: Connection, worker_id: str, pool: str, now: float) -> None:
    row = {
        "worker_id": worker_id,
        "pool": pool,
        "first_seen": now,
        "last_seen": now,
        "finished": 0,
    }
    connection.execute(_add_or_change(connection.dialect.name), row)


@cache
def _add_or_change(dialect: str) -> Executable:
    row = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(workers)
    changed = {"pool": row.excluded.pool, "last_seen": row.excluded.last_seen}
    return row.on_conflict_do_update(index_elements=[workers.c.worker_id], set_=changed)
