"""Epochs: after a database was put back to an earlier state, no number is given a second time.

A restored backup, or a power cut that costs the last commits, makes a database forget what clients
remember. A new epoch lifts every counter that clients see above all that may have been given: the
numbers of events to the present time, versions and change numbers of searches by a wide gap.
"""

from __future__ import annotations

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.engine import Connection

from brainformer.search.sql.connection.advisory_locks import AdvisoryLock
from brainformer.search.sql.connection.tables import epochs, searches

EVENTS_A_SECOND = 2**20  # more than any controller writes; numbers stay below 2**53 until 2242
GAP = 100_000  # more changes of one search than the last commits of a power cut hold
RAISE_SQLITE = text(
    "INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq) VALUES ("
    "(SELECT rowid FROM sqlite_sequence WHERE name = 'events'), 'events',"
    " max(:least, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)))"
)
RAISE_POSTGRES = text(
    "SELECT setval(pg_get_serial_sequence('events', 'seq'),"
    " greatest(:least, (SELECT last_value FROM events_seq_seq)))"
)


def begin_epoch(
    connection: Connection, *, now: float, reason: str, lost: bool, above: int = 0
) -> int:
    """Returns the new epoch, whose events have greater numbers than all before.

    Args:
        connection: In a transaction that writes.
        now: Seconds since 1970.
        reason: Why there is a new one, for people.
        lost: Whether commits may be missing that clients have seen.
        above: An epoch that is known to have been given.
    """
    newest = connection.execute(select(func.max(epochs.c.epoch))).scalar() or 0
    epoch = max(int(now), newest + 1, above + 1)
    connection.execute(insert(epochs), {"epoch": epoch, "at": now, "reason": reason})
    least = {"least": epoch * EVENTS_A_SECOND}
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({AdvisoryLock.EVENTS:d})"))
        connection.execute(RAISE_POSTGRES, least)
    else:
        connection.execute(RAISE_SQLITE, least)
    if lost:
        gap = {"version": searches.c.version + GAP, "trial_seq": searches.c.trial_seq + GAP}
        connection.execute(update(searches).values(gap))
    return epoch
