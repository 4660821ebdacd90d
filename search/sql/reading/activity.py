"""What goes on: events, workers and the figures for /metrics."""

from __future__ import annotations

import json
from typing import NamedTuple

from sqlalchemy import Column, func, select

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import (
    RUNNING,
    events,
    searches,
    trials,
    workers,
)
from brainformer.search.sql.rows.table_rows import EventRow, WorkerRow
from brainformer.search.sql.rows.values import at
from brainformer.search.store.records import EventRecord, WorkerRecord
from brainformer.search.trials.trial import TrialStatus

ALIVE_SECONDS = 600.0  # a worker that was not heard of for so long is not counted in its pool
SHOWN_WORKERS = 1000
LAST_SEQ = 2**62


class BusyRow(NamedTuple):
    """How many trials run for one worker or pool."""

    value: str | None
    trials: int


def events_after(
    tx: Transaction, search_id: str | None, after: int, limit: int
) -> list[EventRecord]:
    """Returns events with a higher seq, oldest first."""
    after = max(0, min(after, LAST_SEQ))
    query = select(events).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
    if search_id is not None:
        query = query.where(events.c.search_id == search_id)
    return [
        EventRecord(
            seq=row.seq,
            search_id=row.search_id,
            kind=row.kind,
            at=at(row.at),
            data=json.loads(row.data),
        )
        for row in tx.all(EventRow, query)
    ]


def last_event(tx: Transaction, search_id: str | None) -> int:
    """Returns the newest event's seq."""
    query = select(events.c.seq).order_by(events.c.seq.desc()).limit(1)
    if search_id is not None:
        query = query.where(events.c.search_id == search_id)
    return int(tx.run(query).scalar() or 0)


def list_workers(tx: Transaction) -> list[WorkerRecord]:
    """Returns the workers seen, latest first."""
    busy = running_by(tx, trials.c.worker_id)
    latest = select(workers).order_by(workers.c.last_seen.desc()).limit(SHOWN_WORKERS)
    return [
        WorkerRecord(
            worker_id=row.worker_id,
            pool=row.pool,
            first_seen=at(row.first_seen),
            last_seen=at(row.last_seen),
            running=busy.get(row.worker_id, 0),
            finished=row.finished,
        )
        for row in tx.all(WorkerRow, latest)
    ]


def running_by(tx: Transaction, column: Column[str | None]) -> dict[str, int]:
    """Returns how many trials run for each value: counted, so that nothing can drift."""
    counted = select(column.label("value"), func.count().label("trials"))
    rows = tx.all(BusyRow, counted.where(RUNNING).group_by(column))
    return {row.value: row.trials for row in rows if row.value is not None}


def statistics(tx: Transaction) -> dict[str, float]:
    """Returns figures for /metrics, from counters and from the few rows that run."""
    columns = [getattr(searches.c, status.value) for status in TrialStatus]
    sums = tx.run(select(*(func.coalesce(func.sum(column), 0) for column in columns))).one()
    figures = {
        f"trials_{status.value}": float(value)
        for status, value in zip(TrialStatus, sums, strict=True)
    }
    for status, count in tx.run(
        select(searches.c.status, func.count()).group_by(searches.c.status)
    ):
        figures[f"searches_{status}"] = float(count)
    running = select(
        func.min(trials.c.started_at),
        func.min(trials.c.lease_expires_at),
    ).where(RUNNING)
    started, expires = tx.run(running).one()
    figures["oldest_lease_age_seconds"] = max(0.0, tx.now - started) if started else 0.0
    figures["most_overdue_lease_seconds"] = max(0.0, tx.now - expires) if expires else 0.0
    alive = select(func.count()).where(workers.c.last_seen >= tx.now - ALIVE_SECONDS)
    figures["workers_alive"] = float(tx.run(alive).scalar_one())
    return figures
