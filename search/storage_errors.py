"""Errors of a database that cannot serve requests: a branch of the tree in `search/errors.py`."""

from __future__ import annotations

from brainformer.search.errors import BrainformerError


class StorageError(BrainformerError):
    """The database cannot serve requests."""

    code = "storage_error"


class StorageUnavailable(StorageError):
    """The database cannot serve right now; its subclasses say why."""

    code = "storage_unavailable"

    def __init__(self, why: str) -> None:
        super().__init__(f"the database is unavailable: {why}")


class StorageBusy(StorageUnavailable):
    """Another transaction or process held what was asked for; the same again may well succeed."""

    code = "storage_busy"


class StorageHeld(StorageBusy):
    """Somebody holds a lock, or all connections are in use, for longer than anybody can wait."""

    code = "storage_held"


class StorageFull(StorageUnavailable):
    """The database's disk is full."""

    code = "storage_full"


class StorageReadOnly(StorageUnavailable):
    """The database may be read and not written."""

    code = "storage_read_only"


class StorageUnreachable(StorageUnavailable):
    """The server does not answer, or the file cannot be opened or read."""

    code = "storage_unreachable"


class StorageReplaced(StorageUnavailable):
    """The file was deleted, moved or replaced while a controller served it."""

    code = "storage_replaced"

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path} {what}; put the file back, or restart the controller")


class StorageDamaged(StorageUnavailable):
    """The database is not sound, or none at all."""

    code = "storage_damaged"


class SchemaMismatch(StorageError):
    """The database's schema is not the one that this version works with."""

    code = "schema_mismatch"

    def __init__(self, found: str, expected: str, what_to_do: str) -> None:
        super().__init__(
            f"the database is at schema {found}, this version needs {expected}; {what_to_do}"
        )


class StoreLocked(StorageError):
    """Another controller holds this SQLite file."""

    code = "store_locked"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"another controller already uses {path}; stop it, or use PostgreSQL for several"
        )
