"""A SQLite file: made once, held by one controller, and watched while it is served.

SQLite goes on with a file that has been deleted, moved or replaced, and whatever it then writes is
lost. With each transaction a controller therefore checks whether the file of that name is still
the one that it has opened. It holds two locks: of a file beside the database, and of one byte of
the database itself, which neither another name nor a removed lock file gets around.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import time
from pathlib import Path

from sqlalchemy.engine import URL

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.sql.connection.engine import is_memory
from brainformer.search.storage_errors import StorageReplaced, StoreLocked

LOG = "-wal"
BESIDE = ("", LOG, "-shm")
MARK = b"A controller has worked with the database beside this file.\n"
# Far beyond the bytes that SQLite locks, and any file's end. A lock of an open file, where there
# are such: closing another descriptor of the file does not end it.
LOCKED_BYTE = 2**62
SET_LOCK = getattr(fcntl, "F_OFD_SETLK", fcntl.F_SETLK)
Identity = tuple[int, int]


class DatabaseFile:
    """The file of a database, as one process has opened it.

    Args:
        url: Of SQLite, in a file.
        exclusive: Whether to hold it against a second controller.
        create: Whether to begin an empty one although there was one before.

    Raises:
        EnvironmentProblem: it is missing though it was there before, or cannot be made.
        StoreLocked: another controller holds it.
    """

    def __init__(self, url: URL, *, exclusive: bool, create: bool = False) -> None:
        self.path = file_of(url)
        self._beside = self.path.with_name(self.path.name + ".lock")
        self._make(create=create)
        self.crashed = has_log(url)  # whoever had it open has not closed it
        self._hold = FileLock(self.path) if exclusive else None
        found = self.path.stat()
        self._identity: Identity = found.st_dev, found.st_ino
        self._name = str(self.path)

    def require_unchanged(self) -> None:
        """Returns if the file of that name is still the one that was opened.

        Raises:
            StorageReplaced: it has been deleted, moved or replaced.
        """
        try:
            found = os.stat(self._name)  # noqa: PTH116 by a Path it takes three times as long
        except OSError:
            raise StorageReplaced(self._name, "is gone") from None
        if (found.st_dev, found.st_ino) != self._identity:
            raise StorageReplaced(self._name, "is another file than this process has opened")

    def mark(self) -> None:
        """Notes, beside it, that there is a database from now on."""
        if self._hold is not None:
            self._hold.mark()

    def close(self) -> None:
        """Gives the file up."""
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    def _make(self, *, create: bool) -> None:
        log = self.path.with_name(self.path.name + LOG)
        try:
            empty = not self.path.exists() or not self.path.stat().st_size
            if empty and not create and self._was_there(log):
                raise EnvironmentProblem(
                    f"the database {self.path} is gone, and there was one before",
                    "put it back, restore a backup with `brainformer db restore`, or begin an "
                    "empty one with `brainformer serve --create`",
                )
            if empty and log.exists():  # SQLite would take it for the new file's
                log.rename(log.with_name(f"{log.name}.before-{time.strftime('%Y%m%dT%H%M%S')}"))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Never opened if it exists: closing it would drop SQLite's own locks.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise not_writable(self.path, error) from error

    def _was_there(self, log: Path) -> bool:
        """Returns whether a database of that name has been served before."""
        if log.exists() and log.stat().st_size:
            return True
        if not self._beside.exists():
            return False
        # Versions before this one left the lock file empty. Of a file that is there and empty only
        # the mark tells whether it was ever more.
        return not self.path.exists() or self._beside.stat().st_size > 0


class FileLock:
    """Holds a database's file against every other controller until it is closed.

    Raises:
        StoreLocked: another one holds it.
        EnvironmentProblem: it cannot be locked.
    """

    _held: set[Identity] = set()  # noqa: RUF012 of this process, guarded by `_guard`
    _guard = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptors: list[int] = []
        self._identity: Identity | None = None
        try:
            self._lock_beside()
            self._lock_itself()
        except BaseException:
            self.close()
            raise

    def mark(self) -> None:
        """Writes into the file beside it that there is a database."""
        beside = self._descriptors[0]
        if not os.fstat(beside).st_size:
            with contextlib.suppress(OSError):
                os.write(beside, MARK)

    def close(self) -> None:
        """Gives it up."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        if self._identity is not None:
            with self._guard:
                self._held.discard(self._identity)
            self._identity = None

    def _lock_beside(self) -> None:
        beside = self._path.with_name(self._path.name + ".lock")
        try:
            descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise not_writable(beside, error) from error
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreLocked(str(self._path)) from None

    def _lock_itself(self) -> None:
        """Locks the database's own inode, if it is there.

        A process never opens a file that it holds already: to close it again would drop the locks
        that SQLite has of it.
        """
        if not self._path.is_file():
            return
        found = self._path.stat()
        identity = found.st_dev, found.st_ino
        with self._guard:
            if identity in self._held:
                raise StoreLocked(str(self._path))
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                raise not_writable(self._path, error) from error
            self._descriptors.append(descriptor)
            whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, LOCKED_BYTE, 1, 0)
            try:
                fcntl.fcntl(descriptor, SET_LOCK, whole)
            except OSError:
                raise StoreLocked(str(self._path)) from None
            self._held.add(identity)
            self._identity = identity


def file_of(url: URL) -> Path:
    """Returns the file of a SQLite database, the same whatever link names it."""
    return Path(str(url.database)).resolve()


def has_log(url: URL) -> bool:
    """Returns whether a SQLite file has a log beside it."""
    return not is_memory(url) and Path(f"{file_of(url)}{LOG}").exists()


def not_writable(path: Path, error: OSError) -> EnvironmentProblem:
    """Returns the error of a file that cannot be written."""
    return EnvironmentProblem(
        f"cannot write {path}: {error.strerror}", "choose a folder with write permission"
    )
