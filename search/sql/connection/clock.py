"""The database's time: PostgreSQL's own, and a steady one for SQLite, which has none.

A controller that starts with a wrong clock writes times that outlive the mistake: searches end by
their hours, tokens expire. So the clock is compared with the newest time in the database first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from brainformer.search.errors import ImplausibleClock
from brainformer.search.sql.connection.tables import epochs, events, workers

POSTGRES_CLOCK = "extract(epoch FROM clock_timestamp())::float8"
Clock = Callable[[], float]
DAY = 86_400.0
MOST_BEHIND_SECONDS = DAY  # a clock that was set back by less is made up for
MOST_AHEAD_SECONDS = 5 * 365 * DAY
EARLIEST = 1_672_531_200.0  # 2023-01-01: this program is not older


class DatabaseClock:
    """Seconds since 1970, by the database.

    Args:
        postgres: Whether the database has a clock of its own.
        given: Is asked instead; for tests.
    """

    def __init__(self, *, postgres: bool, given: Clock | None) -> None:
        self._postgres = postgres
        self.given = given
        self._origin = (time.time(), time.monotonic())

    def start(self, connection: Connection) -> None:
        """Starts SQLite's clock: never behind what the file has seen, then monotonic.

        A computer clock that was set back while the controller was down would otherwise keep
        leases alive for as long; one that is set while it runs is never looked at.

        Raises:
            ImplausibleClock: it is far from what the database has seen.
        """
        if self.given is not None:
            return
        newest = newest_time(connection)
        here = self.now(connection) if self._postgres else time.time()
        require_plausible(here, newest)
        self._origin = (max(here, newest or 0.0), time.monotonic())

    def now(self, connection: Connection) -> float:
        """Returns the time."""
        if self.given is not None:
            return self.given()
        if self._postgres:
            return server_time(connection)
        wall, monotonic = self._origin
        return wall + time.monotonic() - monotonic


def server_time(connection: Connection) -> float:
    """Returns the time of a PostgreSQL server."""
    seconds: float = connection.exec_driver_sql(f"SELECT {POSTGRES_CLOCK}").scalar_one()
    return seconds


def newest_time(connection: Connection) -> float | None:
    """Returns the latest time at which something is known to have happened; None if nothing has."""
    found = [
        connection.execute(select(column).order_by(column.desc()).limit(1)).scalar()
        for column in (workers.c.last_seen, epochs.c.at)
    ]
    last = select(events.c.at).order_by(events.c.seq.desc()).limit(1)
    found.append(connection.execute(last).scalar())
    return max((one for one in found if one is not None), default=None)


def require_plausible(here: float, newest: float | None) -> None:
    """Returns if a clock may be right, after what a database has seen.

    Args:
        here: What it says.
        newest: The latest time in the database, if there is any.

    Raises:
        ImplausibleClock: it is far behind or ahead.
    """
    if here < EARLIEST:
        raise ImplausibleClock(_day(here), "before this program was written")
    if newest is None:
        return
    if newest - here > MOST_BEHIND_SECONDS:
        why = f"the newest entry in the database is of {_day(newest)}"
        raise ImplausibleClock(_day(here), f"before that: {why}")
    if here - newest > MOST_AHEAD_SECONDS:
        raise ImplausibleClock(
            _day(here), f"years after the newest entry in the database, of {_day(newest)}"
        )


def _day(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s after 1970"
