"""Forgets old events, workers and lines of the audit trail, a batch at a time."""

from __future__ import annotations

from sqlalchemy import Column, Table, delete, func, select
from typing_extensions import override

from brainformer.search.sql.connection.database import Database, Transaction
from brainformer.search.sql.connection.tables import audit, events, workers
from brainformer.search.store.retention import Retention
from brainformer.search.store.store_care import StoreCare

DAY = 86_400.0
BATCH = 2_000


class SqlCare(StoreCare):
    """Looks after a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    def forget_old(self, keep: Retention) -> int:
        with self._database.write() as tx:
            return forget_old(tx, keep)

    @override
    def vitals(self) -> dict[str, float]:
        return self._database.vitals()


def forget_old(tx: Transaction, keep: Retention) -> int:
    """Returns how many rows were forgotten; at most a batch of each kind, so ask again."""
    gone = 0
    if keep.event_days:
        # The newest event stays: it tells what time the database has seen.
        newest = select(func.max(events.c.seq)).scalar_subquery()
        of_searches = events.c.search_id.is_not(None) & (events.c.seq < newest)
        gone += _oldest(tx, events, events.c.seq, of_searches, tx.now - DAY * keep.event_days)
    if keep.audit_days:
        gone += _oldest(tx, audit, audit.c.id, None, tx.now - DAY * keep.audit_days)
    if keep.worker_days:
        gone += _workers(tx, tx.now - DAY * keep.worker_days)
    return gone


def _oldest(tx: Transaction, table: Table, key: Column[int], where: object, before: float) -> int:
    """Forgets the oldest rows of a table that grows in order of time.

    Only a batch from its beginning is looked at, however long it is.
    """
    looked_at = select(key, table.c.at).order_by(key).limit(BATCH)
    if where is not None:
        looked_at = looked_at.where(where)  # type: ignore[arg-type]
    first = looked_at.subquery()
    old = select(first.c[key.name]).where(first.c.at < before)
    return int(tx.run(delete(table).where(key.in_(old))).rowcount)


def _workers(tx: Transaction, before: float) -> int:
    other = workers.alias()
    seen_later = (other.c.pool == workers.c.pool) & (other.c.last_seen > workers.c.last_seen)
    old = (
        select(workers.c.worker_id)
        .where(workers.c.last_seen < before, select(other.c.pool).where(seen_later).exists())
        .limit(BATCH)
    )
    return int(tx.run(delete(workers).where(workers.c.worker_id.in_(old))).rowcount)
