"""Mends what a controller wrote while its clock ran ahead."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Double, Table, case, delete, select, update

from brainformer.search.sql.connection.clock import Clock, newest_time, server_time
from brainformer.search.sql.connection.database import Database, Transaction
from brainformer.search.sql.connection.epoch import begin_epoch
from brainformer.search.sql.connection.migration import check_connection
from brainformer.search.sql.connection.tables import metadata, searches, sessions, tokens, trials
from brainformer.search.sql.rows.table_rows import SearchRow
from brainformer.search.sql.rows.values import read_limits
from brainformer.search.sql.trials.completion import limit_reached
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind

# Times at which something has happened, and which cannot lie ahead.
PAST = frozenset(
    {
        "at", "created_at", "finished_at", "first_seen", "last_seen", "last_used_at", "revoked_at",
        "started_at", "updated_at",
    }
)  # fmt: skip


@dataclass(frozen=True)
class ClockReport:
    """What a database's times are, and what was mended.

    Attributes:
        now: The present time, in seconds since 1970.
        newest: The latest time in the database; None if it holds none.
        mended: Rows with a time ahead of now that were set to it.
        reopened: Searches that had ended only because their hours seemed over.
    """

    now: float
    newest: float | None
    mended: int = 0
    reopened: int = 0


def look(url: str, clock: Clock) -> ClockReport:
    """Returns what a database's times are.

    Args:
        url: Of the database.
        clock: This machine's, for SQLite.
    """
    database = Database(url, clock=clock, exclusive=False)
    try:
        with database.read() as tx:
            check_connection(tx.connection)
            return ClockReport(_present(tx, clock), newest_time(tx.connection))
    finally:
        database.close()


def repair(url: str, clock: Clock) -> ClockReport:
    """Sets every time that lies ahead to the present, and takes the present clock for right.

    Tokens keep their length of life; searches that ended because their hours seemed over go on.
    No controller may run meanwhile.

    Args:
        url: Of the database.
        clock: This machine's, for SQLite.

    Raises:
        StoreLocked: a controller works with the SQLite file.
    """
    database = Database(url, clock=clock)
    try:
        with database.write(epoch=False) as tx:
            check_connection(tx.connection)
            now, newest = _present(tx, clock), newest_time(tx.connection)
            reopened = _reopen(tx, now)
            mended = _mend(tx, now)
            begin_epoch(tx.connection, now=now, reason="the clock was repaired", lost=False)
            return ClockReport(now, newest, mended, reopened)
    finally:
        database.close()


def _present(tx: Transaction, clock: Clock) -> float:
    return server_time(tx.connection) if tx.postgres else clock()


def _mend(tx: Transaction, now: float) -> int:
    born_ahead = tokens.c.created_at > now
    tx.run(delete(sessions).where(sessions.c.created_at > now))
    life = tokens.c.expires_at - tokens.c.created_at
    tx.run(update(tokens).where(born_ahead).values(expires_at=now + life))
    ends = now + trials.c.lease_seconds
    tx.run(update(trials).where(trials.c.lease_expires_at > ends).values(lease_expires_at=ends))
    mended = 0
    for table in metadata.sorted_tables:
        ahead = [column for column in table.c if _tells_the_past(column)]
        mended += _set_back(tx, table, ahead, now) if ahead else 0
    return mended


def _tells_the_past(column: Column[object]) -> bool:
    return isinstance(column.type, Double) and column.name in PAST


def _set_back(tx: Transaction, table: Table, columns: list[Column[object]], now: float) -> int:
    """Returns how many rows had a time ahead of now."""
    mended = update(table).values(
        {column.name: case((column > now, now), else_=column) for column in columns}
    )
    any_ahead = columns[0] > now
    for column in columns[1:]:
        any_ahead |= column > now
    return int(tx.run(mended.where(any_ahead)).rowcount)


def _reopen(tx: Transaction, now: float) -> int:
    ended = select(searches).where(
        searches.c.status == SearchStatus.COMPLETED.value, searches.c.finished_at > now
    )
    early = [row for row in tx.all(SearchRow, ended) if _too_early(row, now)]
    running = SearchStatus.RUNNING.value
    for row in early:
        values = {"status": running, "reason": "", "finished_at": None, "confirming": False}
        tx.change(searches, row.id, values)
        tx.emit(EventKind.SEARCH_STATUS, row.id, status=running, reason="the clock was repaired")
    return len(early)


def _too_early(row: SearchRow, now: float) -> bool:
    limits = read_limits(row.spec)
    return limits.hours is not None and not limit_reached(limits, row, now)
