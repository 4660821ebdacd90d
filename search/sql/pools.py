"""Pools that an operator takes out of work, and puts back.

There is no table of them: what was decided stands in the events that belong to no search, which are
few and have an index. A controller remembers how far it has read, so a claim asks for news alone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

from sqlalchemy import bindparam, exists, func, select

from brainformer.search.errors import NotFound
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import events, workers
from brainformer.search.sql.rows.table_rows import EventRow
from brainformer.search.sql.tokens import audit_action
from brainformer.search.store.actor import Actor
from brainformer.search.trials.events import EventKind

NEWS = (
    select(events)
    .where(events.c.search_id.is_(None), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
)
NEWEST = select(func.max(events.c.seq)).where(events.c.search_id.is_(None))
KNOWN = select(exists().where(workers.c.pool == bindparam("pool")))
PoolChange: TypeAlias = Callable[[Transaction, str, Mapping[str, float], Actor], None]


class DrainedPools:
    """The pools that get no new leases, as far as this process has read."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._read = 0
        self._lock = threading.Lock()

    def now(self, tx: Transaction) -> Mapping[str, float]:
        """Returns the drained pools, each with the time since when."""
        with self._lock:
            newest = tx.run(NEWEST).scalar_one() or 0
            if newest <= self._read:
                return dict(self._since)
            # Asked for alone, the newest is one step in the index; in one query with the news, a
            # planner that knows its statistics goes through all events instead.
            for row in tx.all(EventRow, NEWS, {"after": self._read}):
                if row.kind == EventKind.POOL_DRAINED:
                    self._since.setdefault(json.loads(row.data)["pool"], row.at)
                elif row.kind == EventKind.POOL_RESUMED:
                    self._since.pop(json.loads(row.data)["pool"], None)
            self._read = newest
            return dict(self._since)


def check_known(tx: Transaction, pool: str, drained: Mapping[str, float]) -> None:
    """Refuses a pool that has no worker, not even one of long ago, and is not drained.

    Raises:
        NotFound: no worker has claimed for it.
    """
    if pool not in drained and not tx.run(KNOWN, {"pool": pool}).scalar_one():
        raise NotFound("pool", pool)


def drain_pool(tx: Transaction, pool: str, drained: Mapping[str, float], actor: Actor) -> None:
    """Lets no further trial start on the pool; those that run go on. Twice is as once.

    Raises:
        NotFound: no worker has claimed for it.
    """
    check_known(tx, pool, drained)
    if pool not in drained:
        tx.emit(EventKind.POOL_DRAINED, None, pool=pool)
        audit_action(tx, actor, "pool.drain", pool)


def resume_pool(tx: Transaction, pool: str, drained: Mapping[str, float], actor: Actor) -> None:
    """Lets trials start on the pool again. Twice is as once.

    Raises:
        NotFound: no worker has claimed for it.
    """
    check_known(tx, pool, drained)
    if pool in drained:
        tx.emit(EventKind.POOL_RESUMED, None, pool=pool)
        audit_action(tx, actor, "pool.resume", pool)
