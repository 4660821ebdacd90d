"""What a driver's error says of the database: a class for each kind of trouble, told by its code.

SQLite gives a result code, PostgreSQL an SQLSTATE; no message is ever searched for a word.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.exc import TimeoutError as PoolTimeout

from brainformer.search.storage_errors import (
    StorageBusy,
    StorageDamaged,
    StorageFull,
    StorageHeld,
    StorageReadOnly,
    StorageUnavailable,
    StorageUnreachable,
)

DISK_FULL = "the disk is full; free some space, nothing was lost"
HELD_FILE = "another process holds its write lock; end that process's transaction"
HELD_ROWS = "another session holds a lock; pg_stat_activity tells whose, end its transaction"
TOO_SLOW = "a statement took too long; look at the server's load"
Trouble = Callable[[str], StorageUnavailable]  # of what the driver says


def _says(kind: type[StorageUnavailable], words: str) -> Trouble:
    """Returns a trouble with words of ours."""
    return lambda _said: kind(words)


# Primary result codes, the low byte of what SQLite gives (https://sqlite.org/rescode.html).
SQLITE: dict[int, Trouble] = {
    5: _says(StorageHeld, HELD_FILE),  # SQLITE_BUSY
    6: _says(StorageHeld, HELD_FILE),  # SQLITE_LOCKED
    8: _says(StorageReadOnly, "the file or its folder is read-only; give write permission"),
    10: _says(StorageUnreachable, "the disk reports an input/output error"),  # SQLITE_IOERR
    11: _says(StorageDamaged, "the file is not a sound SQLite database; restore a backup"),
    13: _says(StorageFull, DISK_FULL),  # SQLITE_FULL
    14: _says(StorageUnreachable, "the file cannot be opened; check its folder and permissions"),
    26: _says(StorageDamaged, "the file is not a SQLite database"),  # SQLITE_NOTADB
}
# SQLSTATEs (PostgreSQL's documentation, appendix A); of class 08 all mean a broken connection.
POSTGRES: dict[str, Trouble] = {
    "25006": StorageReadOnly,  # read_only_sql_transaction, as on a standby
    "25P03": StorageUnreachable,  # idle_in_transaction_session_timeout
    "40001": StorageBusy,  # serialization_failure
    "40P01": StorageBusy,  # deadlock_detected
    "53100": _says(StorageFull, DISK_FULL),  # disk_full
    "53300": StorageUnreachable,  # too_many_connections
    "55P03": _says(StorageHeld, HELD_ROWS),  # lock_not_available, as after lock_timeout
    "57014": _says(StorageHeld, TOO_SLOW),  # query_canceled, as after statement_timeout
    "57P01": StorageUnreachable,  # admin_shutdown
    "57P02": StorageUnreachable,  # crash_shutdown
    "57P03": StorageUnreachable,  # cannot_connect_now
    "58030": StorageUnreachable,  # io_error
    "XX001": StorageDamaged,  # data_corrupted
    "XX002": StorageDamaged,  # index_corrupted
}
BROKEN_CONNECTION = "08"


def storage_error(error: Exception) -> StorageUnavailable:
    """Returns the error that says by its class, and in words, why the database did not serve.

    Args:
        error: Of SQLAlchemy, around that of the driver.
    """
    if isinstance(error, PoolTimeout):
        return StorageHeld("every connection to it is in use")
    cause = getattr(error, "orig", None) or error
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    return _trouble(cause)(said)


def _trouble(cause: BaseException) -> Trouble:
    sqlite_code: int | None = getattr(cause, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return SQLITE.get(sqlite_code & 0xFF, StorageUnavailable)
    if not hasattr(cause, "sqlstate"):
        return StorageUnavailable
    state: str | None = cause.sqlstate
    if state is None or state.startswith(BROKEN_CONNECTION):  # without one, nobody answered
        return StorageUnreachable
    return POSTGRES.get(state, StorageUnavailable)
