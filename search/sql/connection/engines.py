"""The engines of one database: who writes, who reads, and who must be served while all others wait.

Each has a fixed number of places; whoever finds none within their patience is told so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine

from brainformer.search.sql.connection.engine import SQLITE_CONNECTIONS, is_memory, make_engine
from brainformer.search.sql.connection.postgres import (
    CONNECTIONS,
    LIMITS_OF_TRANSACTION,
    is_pooled,
    make_postgres_engine,
)
from brainformer.search.storage_errors import StorageHeld
from brainformer.search.store.patience import patience, seconds_left, too_late

ASIDE_CONNECTIONS = 6


class Places:
    """A fixed number of places; whoever finds none waits for as long as they may.

    A block `with places:` holds one.

    Attributes:
        most: How many there are.
        taken: How many of them are held.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._waiting = 0
        self._freed = threading.Condition(threading.Lock())

    def __enter__(self) -> None:
        """Takes a place.

        Raises:
            StorageHeld: none became free in time.
        """
        with self._freed:
            if not self._has_free():
                self._wait()
            self.taken += 1

    def __exit__(self, *raised: object) -> None:
        """Gives it back."""
        with self._freed:
            self.taken -= 1
            if self._waiting:
                self._freed.notify()

    def _wait(self) -> None:
        self._waiting += 1
        try:
            free = _in_time(lambda seconds: self._freed.wait_for(self._has_free, timeout=seconds))
        finally:
            self._waiting -= 1
        if not free:
            raise StorageHeld("every connection to it is in use")

    def _has_free(self) -> bool:
        return self.taken < self.most


class OnlyWriter:
    """This process's lock of a SQLite file; a block `with writer:` holds it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        """Takes the lock, which a thread that holds it may take again.

        Raises:
            StorageHeld: another thread holds it for too long.
        """
        if self._lock.acquire(blocking=False):
            return
        if _in_time(lambda seconds: self._lock.acquire(timeout=seconds)):
            return
        raise StorageHeld("another transaction of this controller holds its write lock")

    def __exit__(self, *raised: object) -> None:
        """Gives it back."""
        self._lock.release()


class Engines:
    """The engines of one database; `read` and `aside` may be the same as `write`.

    Attributes:
        places: Of each group of connections, by name.
        places_of: The group of each engine.
    """

    def __init__(self, url: URL) -> None:
        self.write: Engine
        self.read: Engine
        self.aside: Engine
        self._pooled = url.get_backend_name() == "postgresql" and is_pooled(url)
        if url.get_backend_name() == "postgresql":
            self.write = make_postgres_engine(url)
            self.read = _only_reading(self.write)
            self.aside = _only_reading(make_postgres_engine(url, connections=ASIDE_CONNECTIONS))
            self.places = {"work": Places(CONNECTIONS), "aside": Places(ASIDE_CONNECTIONS)}
            self.places_of = {self.write: "work", self.read: "work", self.aside: "aside"}
            return
        self.write = make_engine(url, immediate=True)
        self.read = self.aside = self.write if is_memory(url) else make_engine(url)
        self.places = {"write": Places(1), "read": Places(SQLITE_CONNECTIONS)}
        self.places_of = {self.read: "read"} | {self.write: "write"}

    @contextmanager
    def begin(self, engine: Engine) -> Iterator[Connection]:
        """Yields a connection in a transaction that is committed at the end.

        Raises:
            StorageHeld: none became free in time, or so late that nothing is begun any more.
        """
        with self.places[self.places_of[engine]]:
            if too_late():
                raise StorageHeld(
                    "it has more to do than it can, and this call has waited for too long"
                )
            with engine.begin() as connection:
                if self._pooled:
                    connection.exec_driver_sql(LIMITS_OF_TRANSACTION)
                yield connection

    def dispose(self) -> None:
        """Closes all connections."""
        for engine in self.places_of:
            engine.dispose()


def _in_time(wait: Callable[[float], bool]) -> bool:
    """Returns whether something came while the caller still waits.

    Args:
        wait: Waits so many seconds at most, and says whether it came. If the process pauses
            meanwhile, it is called again.
    """
    with patience():
        while not wait(seconds_left() or 0.0):
            if not seconds_left():
                return False
    return True


def _only_reading(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
