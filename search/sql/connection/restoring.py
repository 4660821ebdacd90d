"""Puts a backup in place of a database, and says so to the database."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import delete, update

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.sql.connection.database import Database
from brainformer.search.sql.connection.database_file import BESIDE, FileLock
from brainformer.search.sql.connection.engine import is_memory, parse_url
from brainformer.search.sql.connection.epoch import begin_epoch
from brainformer.search.sql.connection.migration import check, copy_database
from brainformer.search.sql.connection.tables import RUNNING, sessions, trials
from brainformer.search.storage_errors import SchemaMismatch

REASON = "restored"


def restore(url: str, backup: Path | None) -> Path | None:
    """Puts a backup in place of a SQLite database; begins a new epoch on either database.

    PostgreSQL is restored by its own tools; without a backup this says that it has been.

    Returns:
        Where the database that was there before is kept; None if there was none.

    Raises:
        StoreLocked: a controller works with the file.
        EnvironmentProblem: the backup cannot be read, or is not one for this database.
        SchemaMismatch: the backup is not at this version's schema.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        if backup is not None:
            raise EnvironmentProblem(
                "only a SQLite file is restored here",
                "restore PostgreSQL with pg_restore and then run this without a file",
            )
        _begin(url, above=0)
        return None
    if backup is None or is_memory(parsed):
        raise EnvironmentProblem("there is nothing to restore", "name the backup's file")
    target = Path(str(parsed.database)).resolve()
    if not backup.is_file():
        raise EnvironmentProblem(f"there is no backup {backup}", "check the path")
    if backup.resolve() == target:
        raise EnvironmentProblem(f"{backup} is the database itself", "name a backup of it")
    lock = FileLock(target)
    try:
        given = _newest_epoch(target)
        kept = _put(backup, target)
    finally:
        lock.close()
    _begin(url, above=given)
    return kept


def _put(backup: Path, target: Path) -> Path | None:
    part = target.with_name(target.name + ".part")
    try:
        part.unlink(missing_ok=True)
        part.touch(0o600)
        copy_database(backup, part)
        check(f"sqlite:///{part}")
        _require_sound(part, backup)
        with part.open("rb") as copy:
            os.fsync(copy.fileno())
        kept = _set_aside(target)
        part.replace(target)
    except (sqlite3.Error, OSError) as error:
        raise EnvironmentProblem(f"cannot restore {backup}: {error}", "choose another") from error
    except SchemaMismatch:
        raise
    finally:
        for ending in BESIDE:
            part.with_name(part.name + ending).unlink(missing_ok=True)
    return kept


def _require_sound(file: Path, backup: Path) -> None:
    connection = sqlite3.connect(file)
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    finally:
        connection.close()
    if said != "ok":
        raise EnvironmentProblem(f"the backup {backup} is damaged: {said}", "choose another")


def _set_aside(target: Path) -> Path | None:
    """Moves the present database away, its log included; returns where to."""
    if not target.exists() or not target.stat().st_size:
        return None
    kept = target.with_name(f"{target.name}.before-{time.strftime('%Y%m%dT%H%M%S')}")
    for ending in reversed(BESIDE):
        with suppress(FileNotFoundError):
            target.with_name(target.name + ending).rename(kept.with_name(kept.name + ending))
    return kept


def _newest_epoch(file: Path) -> int:
    """Returns the epoch of a database that is to be replaced; 0 if it cannot be read."""
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT max(epoch) FROM epochs").fetchone()[0] or 0
        finally:
            connection.close()
    return 0


def _begin(url: str, *, above: int) -> None:
    check(url)
    database = Database(url)
    try:
        with database.write(epoch=False) as tx:
            begin_epoch(tx.connection, now=tx.now, reason=REASON, lost=True, above=above)
            tx.run(delete(sessions))  # some may have been ended since the backup
            # What their workers sent since is lost: that counts against no trial.
            uncounted = {"tries": trials.c.tries - 1}
            tx.run(update(trials).where(RUNNING, trials.c.tries > 0).values(uncounted))
    finally:
        database.close()
