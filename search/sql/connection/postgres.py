"""Engines on PostgreSQL, and connections that end a wait when whoever waits must be answered.

The server ends statements and waits for locks by itself. A server that is silent, because packets
vanish or a machine between has gone, cannot: there the connection's own clock ends the wait, and
the connection is given up.
"""

from __future__ import annotations

import math
import select
import time
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from typing_extensions import override

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.store.patience import patience, seconds_left

if TYPE_CHECKING:
    from psycopg.abc import RV, PQGen

CONNECT_SECONDS = 5
SHORTEST_CONNECT_SECONDS = 1.0  # psycopg waits for 2 s, however few it is told
CONNECTIONS = 32
SILENT_SECONDS = 1.0  # after which a connection may have died unnoticed
PING_SECONDS = 3.0
ROUNDING_SECONDS = 0.05
LOCK_SECONDS = 5
STATEMENT_SECONDS = 8
LIMITS = (
    f"-c lock_timeout={LOCK_SECONDS}s -c statement_timeout={STATEMENT_SECONDS}s"
    # A controller that hangs within a transaction must not hold a search for ever.
    " -c idle_in_transaction_session_timeout=60s"
)
# Between this machine and the server, where the system knows of it.
TRANSPORT = {
    "tcp_user_timeout": 1000 * STATEMENT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


POOLED = "add pgbouncer=true to the database's URL (postgresql+psycopg://.../NAME?pgbouncer=true)"
# The same, for those who can only say so in each transaction.
LIMITS_OF_TRANSACTION = (
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; "
    f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'; "
    "SET LOCAL idle_in_transaction_session_timeout = '60s'"
)


def require_limits(connection: Connection, url: URL) -> None:
    """Returns if the server has taken our time limits.

    Raises:
        EnvironmentProblem: something in between has dropped them.
    """
    if is_pooled(url) or "options" in url.query:
        return
    (found,) = connection.exec_driver_sql("SHOW lock_timeout").one()
    if found != f"{LOCK_SECONDS}s":
        raise EnvironmentProblem(
            "a pooler such as PgBouncer stands before the database and drops our settings", POOLED
        )


class PatientConnection(psycopg.Connection[Any]):
    """A connection on which no wait outlasts the patience of whoever asked."""

    @override
    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        left = seconds_left()
        if left is None:
            return super().wait(gen, interval, timeout)
        began = time.monotonic()
        try:
            return super().wait(gen, interval, left if timeout is None else min(left, timeout))
        except psycopg.OperationalError as error:
            # Psycopg's own class for this is private; it ends with the time, and not before.
            if error.sqlstate is None and time.monotonic() - began > left - ROUNDING_SECONDS:
                self.close()  # what the server says later would be taken for another answer
                raise psycopg.OperationalError("the server has not answered in time") from error
            raise


def is_pooled(url: URL) -> bool:
    """Returns whether PgBouncer stands in front, by the URL's `pgbouncer=true`."""
    return str(url.query.get("pgbouncer", "")).lower() in {"true", "1", "yes"}


def make_postgres_engine(url: URL, *, connections: int = CONNECTIONS) -> Engine:
    """Returns an engine whose waits end in time.

    PgBouncer gives every transaction another connection to the server: nothing may be set for, or
    prepared on, a connection. It takes no options at the start either.
    """
    given: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "client_encoding": "UTF8",  # whatever PGCLIENTENCODING says
        **TRANSPORT,
    }
    given |= {"prepare_threshold": None} if is_pooled(url) else {"options": LIMITS}
    connect = {name: value for name, value in given.items() if name not in url.query}
    url = url.difference_update_query(["pgbouncer"])
    engine = create_engine(url, pool_size=connections, max_overflow=0, connect_args=connect)
    event.listen(engine, "do_connect", _connect)
    _ping_doubtful(engine)
    return engine


def _connect(
    _dialect: Dialect, _record: ConnectionPoolEntry, given: list[Any], named: dict[str, Any]
) -> PatientConnection:
    left = seconds_left()
    if left is not None and left < SHORTEST_CONNECT_SECONDS:
        raise psycopg.OperationalError("the server has not answered in time")
    if left is not None:
        wanted = float(named.get("connect_timeout", CONNECT_SECONDS))
        named = {**named, "connect_timeout": max(1, math.floor(min(left, wanted)))}
    try:
        connection = PatientConnection.connect(*given, **named)
    except psycopg.OperationalError as error:  # at the start there is no code, only words
        if "unsupported startup parameter" in str(error):
            raise psycopg.OperationalError(f"PgBouncer is in front; {POOLED}") from error
        raise
    _require_unicode(connection)
    return connection


def _require_unicode(connection: PatientConnection) -> None:
    """Returns if the database holds text in UTF-8.

    Raises:
        EnvironmentProblem: it holds what nobody can read as text (SQL_ASCII), or not every letter.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in {"UTF8", None}:
        connection.close()
        raise EnvironmentProblem(
            f"the database holds text in {encoding}, not in UTF-8",
            "create one WITH ENCODING 'UTF8' TEMPLATE template0, and move there what this one has",
        )


def _ping_doubtful(engine: Engine) -> None:
    """Has a connection asked whether it is alive before it is used, where that is in doubt.

    It is if the server has said something unasked, such as farewell, or after a while of silence.
    To ask before every transaction (`pool_pre_ping`) would cost a tenth of a short one.
    """

    def used(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    def ping(
        connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
    ) -> None:
        silent = time.monotonic() - record.info.get("used", math.inf)
        try:
            if silent > SILENT_SECONDS or _spoke(connection):
                with patience(PING_SECONDS):
                    engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error

    event.listen(engine, "checkin", used)
    event.listen(engine, "checkout", ping)


def _spoke(connection: DBAPIConnection) -> bool:
    """Returns whether something waits to be read from the server, or the end of it."""
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
