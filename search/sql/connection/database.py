"""Transactions, the clock, and who waits for whom.

SQLite: WAL, one writer at a time in the process (a lock) and in the file (BEGIN IMMEDIATE), readers
on snapshots, one controller per file (an OS lock beside it). PostgreSQL: readers on snapshots,
writers with row locks, always searches first, then trials, then workers, then the lock of events,
so that no two transactions wait in a circle.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache, cached_property
from typing import Any, TypeAlias, TypeVar, cast

from sqlalchemy import Engine, Table, Update, bindparam, func, insert, select, text, update
from sqlalchemy.engine import Connection, CursorResult
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.sql import Executable

from brainformer.search.sql.connection.advisory_locks import AdvisoryLock
from brainformer.search.sql.connection.clock import Clock, DatabaseClock
from brainformer.search.sql.connection.database_file import DatabaseFile
from brainformer.search.sql.connection.engine import (
    is_memory,
    parse_url,
)
from brainformer.search.sql.connection.engines import Engines, OnlyWriter
from brainformer.search.sql.connection.epoch import begin_epoch
from brainformer.search.sql.connection.outage import Outage
from brainformer.search.sql.connection.postgres import require_limits
from brainformer.search.sql.connection.tables import events
from brainformer.search.sql.connection.troubles import storage_error
from brainformer.search.sql.connection.workers_seen import WorkersSeen
from brainformer.search.storage_errors import StorageUnavailable
from brainformer.search.store.patience import patience
from brainformer.search.trials.events import EventKind

BUGS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)  # ours, not the database's
ADD_EVENTS = insert(events)
# The event is numbered after the lock is held.
_EVENT = ("search_id", "kind", "at", "data")
_lock = select(func.pg_advisory_xact_lock(int(AdvisoryLock.EVENTS)).label("held")).subquery()
ADD_FIRST_EVENT = insert(events).from_select(
    _EVENT,
    select(*(bindparam(f"of_{name}", type_=events.c[name].type) for name in _EVENT)).select_from(
        _lock
    ),
)
GUARD_SECONDS = 1.0  # how often the schema is looked at
PROBE_SECONDS = 10.0  # after which a probe writes, if nobody else has
# Neither needs a table, and both reach the disk with the commit.
PROBE_POSTGRES = select(func.pg_logical_emit_message(True, "brainformer", ""))
Values: TypeAlias = Mapping[str, object]  # of parameters or of columns, by name
R = TypeVar("R")


@cache
def _row_of(table: Table) -> Update:
    """Returns an update of one row, by an id named `key`, of whatever columns it is given."""
    return update(table).where(table.c.id == bindparam("key"))


def _probe_sqlite() -> Executable:
    return text(f"PRAGMA user_version = {secrets.randbelow(2**31):d}")


class Transaction:
    """One transaction: statements, the time, and the events that go in with it."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self.connection = connection
        self.postgres = database.postgres
        self._database = database
        self._events: list[Values] = []
        self._workers_seen = WorkersSeen()
        self.has_written = False  # for certain; what looks for work often finds none

    @property
    def by_server(self) -> bool:
        """Whether the time is the server's own, so that a statement may read it itself."""
        return self.postgres and not self._database.has_given_clock

    @cached_property
    def now(self) -> float:
        """The database's time, read when it is first asked for: after the wait for a lock."""
        return self._database.now(self.connection)

    def tell_time(self, now: float) -> None:
        """Takes the database's time from a statement that read it, if none was read before."""
        if not self._database.has_given_clock:
            self.__dict__.setdefault("now", now)

    def forget_time(self) -> None:
        """Has the time read again when it is next asked for, since the caller is about to wait."""
        self.__dict__.pop("now", None)

    def wait_for_locks(self, seconds: int) -> None:
        """Waits for each lock no longer than so many seconds; SQLite knows none."""
        if self.postgres:
            self.run(text(f"SET LOCAL lock_timeout = '{seconds:d}s'"))

    @cached_property
    def serving_since(self) -> float:
        """Since when the database has been written without a break."""
        return self._database.outage.served(self.now)

    def run(
        self, statement: Executable, values: Values | list[Values] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Executes a statement, once for each of several sets of values."""
        return self.connection.execute(statement, values)

    def all(self, kind: type[R], statement: Executable, values: Values | None = None) -> list[R]:
        """Returns the rows that the statement finds.

        Args:
            kind: What a row is read as: a tuple whose names are the statement's columns.
            statement: A query.
            values: Of its parameters.
        """
        del kind  # for type checkers alone: rows stay the driver's
        return cast("list[R]", self.connection.execute(statement, values).all())

    def first(self, kind: type[R], statement: Executable, values: Values | None = None) -> R | None:
        """Returns the first row that the statement finds, read as `kind`; None if there is none."""
        del kind
        return cast("R | None", self.connection.execute(statement, values).first())

    def one(self, kind: type[R], statement: Executable, values: Values | None = None) -> R:
        """Returns the only row, which must be there, read as `kind`."""
        del kind
        return cast("R", self.connection.execute(statement, values).one())

    def change(self, table: Table, key: int | str, values: Values) -> None:
        """Updates the row of that id.

        The statement is made once: of values, it would take longer to build than to execute.
        """
        self.run(_row_of(table), {"key": key, **values})

    def saw(self, worker_id: str | None, *, pool: str | None = None, finished: int = 0) -> None:
        """Notes that a worker was heard of, if there is one; it is written with the transaction."""
        if worker_id is not None:
            self._workers_seen.add(worker_id, pool=pool, finished=finished)

    def emit(self, kind: EventKind, search_id: str | None, **data: object) -> None:
        """Adds an event that becomes visible with this transaction."""
        row = {"search_id": search_id, "kind": kind.value, "at": self.now, "data": json.dumps(data)}
        self._events.append(row)

    def flush(self) -> None:
        """Writes workers and events, last of all.

        On PostgreSQL a lock held to the commit makes numbers visible in rising order: a reader
        that has seen event n has seen all before it.
        """
        self.has_written |= bool(self._events or self._workers_seen)
        self._workers_seen.write(self.connection, lambda: self.now)
        if not self._events:
            return
        if self.postgres:
            first = self._events.pop(0)
            self.run(ADD_FIRST_EVENT, {f"of_{name}": value for name, value in first.items()})
        if self._events:
            self.run(ADD_EVENTS, self._events)
        self._events.clear()


class Database:
    """A database by URL: `sqlite:///file` or `postgresql+psycopg://...`."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        exclusive: bool = True,
        create: bool = False,
    ) -> None:
        self.url = parse_url(url)
        self.postgres = self.url.get_backend_name() == "postgresql"
        self.outage = Outage() if clock is None else Outage(None)
        self._closed = False
        self._writer = OnlyWriter()
        self._file: DatabaseFile | None = None
        self._guard: Callable[[Connection], None] | None = None
        self._guarded_at = 0.0
        self._written_at = time.monotonic() - PROBE_SECONDS - 1
        self._writable = True
        self._clock = DatabaseClock(postgres=self.postgres, given=clock)
        # Who holds a SQLite file alone begins an epoch with the first thing that it writes.
        self._epoch_due = exclusive and not (self.postgres or is_memory(self.url))
        if not (self.postgres or is_memory(self.url)):
            self._file = DatabaseFile(self.url, exclusive=exclusive, create=create)
        try:
            self._engines = Engines(self.url)
        except BaseException:
            self.close()
            raise

    @property
    def engine(self) -> Engine:
        """The engine that writes."""
        return self._engines.write

    @property
    def engines(self) -> list[Engine]:
        """Every engine."""
        return list(self._engines.places_of)

    @property
    def has_given_clock(self) -> bool:
        """Whether the time is the caller's, not the database's."""
        return self._clock.given is not None

    def begin_serving(self, guard: Callable[[Connection], None]) -> None:
        """Sets the clock, and looks at the schema from time to time from now on.

        Args:
            guard: Raises SchemaMismatch if the schema is not the one to work with.

        Raises:
            ImplausibleClock: the clock is far from what the database has seen.
        """
        if self._file is not None:
            self._file.mark()
        with self.read() as tx:
            if self.postgres:
                require_limits(tx.connection, self.url)
            self._clock.start(tx.connection)
            self.outage.served(tx.now)
        self._guard = guard

    def now(self, connection: Connection) -> float:
        """Returns the time, in seconds since 1970."""
        return self._clock.now(connection)

    @contextmanager
    def write(self, *, epoch: bool = True) -> Iterator[Transaction]:
        """Yields a transaction that commits at the end, or leaves nothing behind.

        Args:
            epoch: Whether the first one begins an epoch, where one is due.
        """
        due = epoch and self._epoch_due
        only = nullcontext() if self.postgres else self._writer
        try:
            with patience(), only:
                with self._transaction(self._engines.write) as tx:
                    if due:
                        self._begin_epoch(tx)
                    yield tx
                if due:
                    self._epoch_due = False
                if self._file is not None:  # else it may have been written to a file that is gone
                    self._file.require_unchanged()
                if tx.has_written:
                    self._written_at, self._writable = time.monotonic(), True
        except StorageUnavailable as error:
            self._writable = False
            self.outage.failed(error)
            raise

    def _begin_epoch(self, tx: Transaction) -> None:
        crashed = self._file is not None and self._file.crashed
        reason = "a start after a crash" if crashed else "a start"
        begin_epoch(tx.connection, now=tx.now, reason=reason, lost=crashed)

    @contextmanager
    def read(self, *, aside: bool = False) -> Iterator[Transaction]:
        """Yields a transaction that reads one state of the database.

        Args:
            aside: Whether by one of the few connections that ordinary work never takes.
        """
        engine = self._engines.aside if aside else self._engines.read
        only = self._writer if is_memory(self.url) else nullcontext()
        with patience(), only, self._transaction(engine) as tx:
            yield tx

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Transaction]:
        if self._closed:
            raise StorageUnavailable("this controller is shutting down")
        if self._file is not None:
            self._file.require_unchanged()
        try:
            with self._engines.begin(engine) as connection:
                self._look(connection)
                tx = Transaction(connection, self)
                yield tx
                tx.flush()
        except BUGS:
            raise
        except DBAPIError as error:
            raise storage_error(error) from error

    def _look(self, connection: Connection) -> None:
        """Looks whether the schema is still the one to work with, if nobody has just done so."""
        now = time.monotonic()
        if self._guard is not None and now - self._guarded_at > GUARD_SECONDS:
            self._guard(connection)
            self._guarded_at = now

    def probe(self) -> None:
        """Returns if the database answers, is as it was opened, and can be written.

        Raises:
            StorageError: it is not.
        """
        with self.read(aside=True) as tx:
            if self._guard is not None:
                self._guard(tx.connection)
        if time.monotonic() - self._written_at > PROBE_SECONDS:
            with self.write() as tx:
                tx.run(PROBE_POSTGRES if self.postgres else _probe_sqlite())
                tx.has_written = True

    def vitals(self) -> dict[str, float]:
        """Returns figures of this process: whether it can write, which connections are taken."""
        found = {
            "database_writable": float(self._writable),
            "database_seconds_since_write": time.monotonic() - self._written_at,
        }
        for name, places in self._engines.places.items():
            found[f'database_connections_taken{{group="{name}"}}'] = places.taken
            found[f'database_connections_most{{group="{name}"}}'] = places.most
        return found

    def close(self) -> None:
        """Closes connections and gives up the file."""
        self._closed = True
        engines: Engines | None = getattr(self, "_engines", None)
        if engines is not None:
            engines.dispose()
        if self._file is not None:
            self._file.close()
