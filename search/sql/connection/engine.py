"""Engines by URL, what they are told on connecting, and the lock of a SQLite file."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import sqlite3
import time
from pathlib import Path
from typing import cast

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, StaticPool

from brainformer.search.errors import (
    EnvironmentProblem,
    InvalidInput,
    StoreLocked,
)

BUSY_SECONDS = 30.0
CONNECT_SECONDS = 5
SILENT_SECONDS = 1.0  # after which a connection may have died unnoticed
# A controller that hangs within a transaction must not hold a search for ever.
POSTGRES_LIMITS = "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s"


def parse_url(url: str) -> URL:
    """Returns the URL, if it names a database that this project works with.

    Raises:
        InvalidInput: it does not.
    """
    rule = "the database URL is sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInput(rule) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise InvalidInput(rule, parsed.drivername)
    return parsed


def is_memory(url: URL) -> bool:
    """Returns whether this is a SQLite database without a file."""
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def has_log(url: URL) -> bool:
    """Returns whether a SQLite file has a log beside it: whoever had it open has not closed it."""
    return not is_memory(url) and Path(f"{Path(str(url.database)).resolve()}-wal").exists()


def make_engine(url: URL, *, immediate: bool = False) -> Engine:
    """Returns an engine; `immediate` takes SQLite's write lock when a transaction begins."""
    if url.get_backend_name() == "postgresql":
        given = {"connect_timeout": CONNECT_SECONDS, "options": POSTGRES_LIMITS}
        connect = {name: value for name, value in given.items() if name not in url.query}
        engine = create_engine(url, pool_size=16, max_overflow=16, connect_args=connect)
        _ping_doubtful(engine)
        return engine
    if is_memory(url):
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        size = 1 if immediate else 16
        connect = {"check_same_thread": False, "timeout": BUSY_SECONDS}
        engine = create_engine(url, connect_args=connect, pool_size=size, max_overflow=48)

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the transaction is ours to begin
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit survives the death of the process; a power cut may cost the last ones, whose
        # trials are then simply run again (decision 40).
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -32768")
        # Four times as seldom as by default: pages written again and again are copied once.
        connection.execute("PRAGMA wal_autocheckpoint = 4000")

    def begin(connection: PoolProxiedConnection) -> None:
        bare = cast("sqlite3.Connection", connection.dbapi_connection)
        bare.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")

    event.listen(engine, "connect", prepare)
    # By the dialect, not by an event: a listener to any event of an engine slows every statement.
    engine.dialect.do_begin = begin  # type: ignore[method-assign, assignment]
    return engine


def _ping_doubtful(engine: Engine) -> None:
    """Has a connection asked whether it is alive before it is used, where that is in doubt.

    It is if the server has said something unasked, such as farewell, or after a while of silence.
    To ask before every transaction (`pool_pre_ping`) would cost a tenth of a short one.
    """

    def used(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    def ping(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        silent = time.monotonic() - record.info.get("used", math.inf)
        try:
            if silent > SILENT_SECONDS or _spoke(connection):
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


def make_file(url: URL) -> None:
    """Makes the SQLite file and its folder where they are missing, the file its owner's alone.

    Raises:
        EnvironmentProblem: they cannot be made.
    """
    if is_memory(url):
        return
    path = Path(str(url.database)).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never opened if it exists: closing it would drop SQLite's own locks.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise _not_writable(path, error) from error


def lock_beside(url: URL) -> int | None:
    """Returns the descriptor that holds the file's lock until it is closed or the process ends."""
    if is_memory(url):
        return None
    path = Path(str(url.database)).resolve()  # one lock, whatever the file is called
    beside = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_writable(beside, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreLocked(str(path)) from None
    return descriptor


def _not_writable(path: Path, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"cannot write {path}: {error.strerror}", "choose a folder with write permission"
    )
