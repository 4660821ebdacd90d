"""Connections, transactions, the clock and the SQLite file lock.

SQLite: WAL, one writer at a time in the process (a lock) and in the file (BEGIN IMMEDIATE), readers
on snapshots, one controller per file (an OS lock beside it). PostgreSQL: readers on snapshots,
writers with row locks, always searches first, then trials, then workers, then the lock of events,
so that no two transactions wait in a circle.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.engine import URL, Connection, CursorResult
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import StaticPool
from sqlalchemy.sql import Executable

from search.errors import EnvironmentProblem, InvalidInput, StorageUnavailable, StoreLocked
from search.sql.outage import Outage
from search.sql.sightings import Sightings
from search.tables import events, workers

BUSY_SECONDS = 30.0
CONNECT_SECONDS = 5
# A controller that hangs within a transaction must not hold a search for ever.
POSTGRES_LIMITS = "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s"
BUGS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)  # ours, not the database's
POSTGRES_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
EVENT_LOCK = 0x62726E66  # of this project among PostgreSQL's advisory locks
Clock = Callable[[], float]


class Transaction:
    """One transaction: statements, the time, and the events that go in with it."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self.connection = connection
        self.postgres = database.postgres
        self._database = database
        self._events: list[dict[str, Any]] = []
        self._sightings = Sightings()

    @cached_property
    def now(self) -> float:
        """The database's time, read when it is first asked for: after the wait for a lock."""
        return self._database.now(self.connection)

    @cached_property
    def serving_since(self) -> float:
        """Since when the database has been written without a break."""
        return self._database.outage.served(self.now)

    def run(self, statement: Executable, values: Any = None) -> CursorResult[*tuple[Any, ...]]:
        """Executes a statement."""
        return self.connection.execute(statement, values)

    def saw(self, worker_id: str, *, pool: str | None = None, finished: int = 0) -> None:
        """Notes that a worker was heard of, to be written with this transaction."""
        self._sightings.add(worker_id, pool=pool, finished=finished)

    def emit(self, kind: str, search_id: str | None, **data: Any) -> None:
        """Adds an event that becomes visible with this transaction."""
        row = {"search_id": search_id, "kind": kind, "at": self.now, "data": json.dumps(data)}
        self._events.append(row)

    def flush(self) -> None:
        """Writes workers and events, last of all.

        On PostgreSQL a lock held to the commit makes numbers visible in rising order: a reader
        that has seen event n has seen all before it.
        """
        self._sightings.write(self.connection, lambda: self.now)
        if not self._events:
            return
        if self.postgres:
            self.connection.execute(text(f"SELECT pg_advisory_xact_lock({EVENT_LOCK})"))
        self.connection.execute(insert(events), self._events)
        self._events.clear()


class Database:
    """A database by URL: `sqlite:///file` or `postgresql+psycopg://...`."""

    def __init__(self, url: str, *, clock: Clock | None = None, exclusive: bool = True) -> None:
        self.url = parse_url(url)
        self.postgres = self.url.get_backend_name() == "postgresql"
        self.outage = Outage()
        self._closed = False
        self._writer = threading.RLock()
        self._lock_file: int | None = None
        self._given_clock = clock
        if not self.postgres and exclusive:
            self._lock_file = _lock_beside(self.url)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._write_engine = make_engine(self.url, immediate=True)
        self._memory = is_memory(self.url)
        self._read_engine: Engine
        if self.postgres:
            self._read_engine = self._write_engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        else:
            self._read_engine = self._write_engine if self._memory else make_engine(self.url)
        self._origin = (time.time(), time.monotonic())

    @property
    def engine(self) -> Engine:
        """The engine that writes."""
        return self._write_engine

    def set_clock(self) -> None:
        """Starts SQLite's clock: never behind what the file has seen, then monotonic.

        A computer clock that was set back while the controller was down would otherwise keep
        leases alive for as long; one that is set while it runs is never looked at.
        """
        if not (self.postgres or self._given_clock):
            self._origin = (self._newest(), time.monotonic())
        with self.read() as tx:
            self.outage.served(tx.now)

    def _newest(self) -> float:
        """Returns the latest of the computer's time and the times in the file."""
        with self.read() as tx:
            seen: list[float | None] = [
                tx.run(select(events.c.at).order_by(events.c.seq.desc()).limit(1)).scalar(),
                tx.run(
                    select(workers.c.last_seen).order_by(workers.c.last_seen.desc()).limit(1)
                ).scalar(),
            ]
        return max([time.time(), *(at for at in seen if at is not None)])

    def now(self, connection: Connection) -> float:
        """Returns the time, in seconds since 1970."""
        if self._given_clock is not None:
            return self._given_clock()
        if self.postgres:
            seconds: float = connection.exec_driver_sql(POSTGRES_NOW).scalar_one()
            return seconds
        wall, monotonic = self._origin
        return wall + time.monotonic() - monotonic

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Yields a transaction that commits at the end, or leaves nothing behind."""
        try:
            if self.postgres:
                with self._transaction(self._write_engine) as tx:
                    yield tx
            else:
                with self._writer, self._transaction(self._write_engine) as tx:
                    yield tx
        except StorageUnavailable as error:
            self.outage.failed(error.message)
            raise

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Yields a transaction that reads one state of the database."""
        if self._memory:
            with self._writer, self._transaction(self._read_engine) as tx:
                yield tx
        else:
            with self._transaction(self._read_engine) as tx:
                yield tx

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Transaction]:
        if self._closed:
            raise StorageUnavailable("this controller is shutting down")
        try:
            with engine.begin() as connection:
                tx = Transaction(connection, self)
                yield tx
                tx.flush()
        except BUGS:
            raise
        except (DBAPIError, PoolTimeout) as error:
            raise storage_error(error) from error

    def close(self) -> None:
        """Closes connections and gives up the file."""
        self._closed = True
        for name in ("_write_engine", "_read_engine"):
            engine = getattr(self, name, None)
            if engine is not None:
                engine.dispose()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


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


def make_engine(url: URL, *, immediate: bool = False) -> Engine:
    """Returns an engine; `immediate` takes SQLite's write lock when a transaction begins."""
    if url.get_backend_name() == "postgresql":
        given = {"connect_timeout": CONNECT_SECONDS, "options": POSTGRES_LIMITS}
        connect = {name: value for name, value in given.items() if name not in url.query}
        return create_engine(
            url, pool_pre_ping=True, pool_size=16, max_overflow=16, connect_args=connect
        )
    if is_memory(url):
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        size = 1 if immediate else 16
        connect = {"check_same_thread": False, "timeout": BUSY_SECONDS}
        engine = create_engine(url, connect_args=connect, pool_size=size, max_overflow=48)

    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the transaction is ours to begin
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit survives the death of the process; a power cut may cost the last ones, whose
        # trials are then simply run again (see decision record 40).
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -32768")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def storage_error(error: Exception) -> StorageUnavailable:
    """Returns the error that says in words why the database did not serve."""
    cause = getattr(error, "orig", None) or error
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    known = {
        "disk is full": "the disk is full; free some space, nothing was lost",
        "No space left": "the disk is full; free some space, nothing was lost",
        "readonly database": "the file or its folder is read-only; give write permission",
        "unable to open": "the file cannot be opened; check its folder and permissions",
        "disk I/O error": "the disk reports an input/output error",
        "malformed": "the file is not a sound SQLite database; restore a backup",
        "not a database": "the file is not a SQLite database",
        "locked": "another process holds the database",
    }
    for sign, words in known.items():
        if sign in said:
            return StorageUnavailable(words)
    return StorageUnavailable(said)


def _lock_beside(url: URL) -> int | None:
    """Returns the descriptor that holds the file's lock until it is closed or the process ends."""
    if is_memory(url):
        return None
    path = Path(str(url.database)).resolve()  # one lock, whatever the file is called
    beside = path.with_name(path.name + ".lock")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write {beside}: {error.strerror}", "choose a folder with write permission"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreLocked(str(path)) from None
    return descriptor
