"""Pools that an operator takes out of work, and puts back.

There is no table of them: what was decided stands in the events that belong to no search, which are
few and have an index. A controller remembers how far it has read, so a claim asks for news alone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from sqlalchemy import bindparam, exists, func, select

from brainformer.search.errors import Conflict, InvalidSpec, NotFound, PoolRetired, how_to_return
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import UNENDED, events, searches, workers
from brainformer.search.sql.rows.table_rows import EventRow
from brainformer.search.sql.rows.values import read_spec
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
RETIREMENTS = (
    select(events)
    .where(
        events.c.search_id.is_(None),
        events.c.kind.in_([EventKind.POOL_RETIRED.value, EventKind.POOL_RETURNED.value]),
    )
    .order_by(events.c.seq)
)
AUDITED = {
    EventKind.POOL_DRAINED: "pool.drain",
    EventKind.POOL_RESUMED: "pool.resume",
    EventKind.POOL_RETIRED: "pool.retire",
    EventKind.POOL_RETURNED: "pool.return",
}
OPEN_SPECS = select(searches.c.id, searches.c.spec).where(UNENDED).order_by(searches.c.ordinal)


class OutOfWork(NamedTuple):
    """Pools that get no new leases, each with the time since when.

    Attributes:
        drained: For now.
        retired: For good, as far as is known.
    """

    drained: Mapping[str, float]
    retired: Mapping[str, float]

    @property
    def names(self) -> set[str]:
        """All of them."""
        return {*self.drained, *self.retired}

    def with_retired(self, pool: str, at: float) -> OutOfWork:
        """Returns these and one that is retired."""
        return OutOfWork(self.drained, {pool: at} | dict(self.retired))


PoolChange: TypeAlias = Callable[[Transaction, str, OutOfWork, Actor], None]


class SpecText(NamedTuple):
    """A search's spec, as `OPEN_SPECS` selects it."""

    id: str
    spec: str


class PoolDecisions:
    """What operators have decided of pools, as far as this process has read."""

    def __init__(self) -> None:
        self._drained: dict[str, float] = {}
        self._retired: dict[str, float] = {}
        self._read = 0
        self._lock = threading.Lock()

    def now(self, tx: Transaction) -> OutOfWork:
        """Returns the pools that are out of work.

        The lock is not held while the database is asked: behind one that is slow, every claim
        would wait for all before it, and for longer than anybody has patience.
        """
        newest = tx.run(NEWEST).scalar_one() or 0
        # Asked for alone, the newest is one step in the index; in one query with the news, a
        # planner that knows its statistics goes through all events instead.
        read = self._read
        news = tx.all(EventRow, NEWS, {"after": read}) if newest > read else []
        with self._lock:
            for row in news:
                if row.seq > self._read:  # nobody else has followed it meanwhile
                    self._follow(row)
                    self._read = row.seq
            return OutOfWork(dict(self._drained), dict(self._retired))

    def _follow(self, row: EventRow) -> None:
        kind = row.kind
        if kind in {EventKind.POOL_DRAINED, EventKind.POOL_RESUMED}:
            known, into = self._drained, kind == EventKind.POOL_DRAINED
        elif kind in {EventKind.POOL_RETIRED, EventKind.POOL_RETURNED}:
            known, into = self._retired, kind == EventKind.POOL_RETIRED
        else:
            return
        pool = json.loads(row.data)["pool"]
        if into:
            known.setdefault(pool, row.at)
        else:
            known.pop(pool, None)


def check_known(tx: Transaction, pool: str, out: OutOfWork) -> None:
    """Refuses a pool that has no worker, not even one of long ago, and is not out of work.

    Raises:
        NotFound: no worker has claimed for it.
    """
    if pool not in out.names and not tx.run(KNOWN, {"pool": pool}).scalar_one():
        raise NotFound("pool", pool)


def check_workable(spec: SearchSpec, out: OutOfWork) -> None:
    """Refuses a search that could only run on pools that were retired.

    Raises:
        InvalidSpec: it names pools, and each of them was retired.
    """
    if spec.pools and all(pool in out.retired for pool in spec.pools):
        raise InvalidSpec(
            "every pool that the search may run on was retired; name another, or bring one back "
            f"with '{how_to_return('POOL')}'",
            list(spec.pools),
            "/pools",
        )


def drain_pool(tx: Transaction, pool: str, out: OutOfWork, actor: Actor) -> None:
    """Lets no further trial start on the pool; those that run go on. Twice is as once.

    Raises:
        NotFound: no worker has claimed for it.
    """
    check_known(tx, pool, out)
    if pool not in out.drained:
        _decide(tx, EventKind.POOL_DRAINED, pool, actor)


def resume_pool(tx: Transaction, pool: str, out: OutOfWork, actor: Actor) -> None:
    """Lets trials start on the pool again. Twice is as once.

    Raises:
        NotFound: no worker has claimed for it.
        Conflict: it was retired.
    """
    check_known(tx, pool, out)
    if pool in out.retired:
        raise Conflict(
            f"pool {pool} was retired, not drained; bring it back with '{how_to_return(pool)}'"
        )
    if pool in out.drained:
        _decide(tx, EventKind.POOL_RESUMED, pool, actor)


def refuse_retired(tx: Transaction, pool: str) -> None:
    """Refuses a pool that is retired at this very moment, whatever was known a moment ago.

    Raises:
        PoolRetired: it is.
    """
    told = [
        row.kind for row in tx.all(EventRow, RETIREMENTS) if json.loads(row.data)["pool"] == pool
    ]
    if told[-1:] == [EventKind.POOL_RETIRED]:
        raise PoolRetired(pool)


def note_retired(tx: Transaction, pool: str, out: OutOfWork, actor: Actor) -> None:
    """Writes that the pool gets no work any more. Twice is as once.

    Raises:
        NotFound: no worker has claimed for it, and no open search names it.
    """
    if pool not in {name for spec in open_specs(tx).values() for name in spec.pools}:
        check_known(tx, pool, out)
    if pool not in out.retired:
        _decide(tx, EventKind.POOL_RETIRED, pool, actor)


def note_returned(tx: Transaction, pool: str, out: OutOfWork, actor: Actor) -> None:
    """Writes that a retired pool is back. Twice is as once.

    Raises:
        NotFound: no worker has claimed for it.
    """
    check_known(tx, pool, out)
    if pool in out.retired:
        _decide(tx, EventKind.POOL_RETURNED, pool, actor)


def _decide(tx: Transaction, kind: EventKind, pool: str, actor: Actor) -> None:
    """Writes what an operator has decided of a pool: for controllers, and for the audit trail."""
    tx.emit(kind, None, pool=pool)
    audit_action(tx, actor, AUDITED[kind], pool)


def open_specs(tx: Transaction) -> dict[str, SearchSpec]:
    """Returns the specs of all searches and studies that have not ended, oldest first."""
    return {row.id: read_spec(row.spec) for row in tx.all(SpecText, OPEN_SPECS)}
