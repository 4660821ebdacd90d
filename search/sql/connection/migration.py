"""Brings a database's schema to this version's, checks it, and copies a SQLite file in use."""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from brainformer.search.errors import Conflict, EnvironmentProblem
from brainformer.search.sql.connection.advisory_locks import AdvisoryLock
from brainformer.search.sql.connection.database import Database
from brainformer.search.sql.connection.engine import (
    is_memory,
    make_engine,
    parse_url,
)
from brainformer.search.sql.connection.troubles import storage_error
from brainformer.search.storage_errors import SchemaMismatch

UPGRADE = "run `brainformer db backup` and then `brainformer db upgrade`"
NO_HASTE = text("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '60s'")
NEWER = "it was written by a newer version; install that one, or restore a backup"


def _config() -> Config:
    config = Config()
    place = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", place.replace("%", "%%"))  # % begins a reference
    config.set_main_option("path_separator", "os")
    return config


@cache
def head() -> str:
    """Returns the schema that this version works with."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current(connection: Connection) -> str | None:
    """Returns the database's schema; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str, *, revision: str = "head") -> None:
    """Creates the schema, or brings an older one up; harmless when there is nothing to do.

    Raises:
        StoreLocked: a controller works with the SQLite file.
        SchemaMismatch: the database is newer than this version.
    """
    database = Database(url)
    try:
        upgrade_engine(database.engine, revision=revision)
    finally:
        database.close()


def upgrade_engine(engine: Engine, *, revision: str = "head") -> None:
    """Like `upgrade`, in one transaction of an open engine."""
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":  # controllers may start at the same time
                connection.execute(NO_HASTE)
                connection.execute(
                    text(f"SELECT pg_advisory_xact_lock({AdvisoryLock.MIGRATION:d})")
                )
            found = current(connection)
            if found is not None and found not in _revisions():
                raise SchemaMismatch(found, head(), NEWER)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except DBAPIError as error:
        raise storage_error(error) from error


def check(url: str) -> None:
    """Returns if the database answers and its schema is this version's.

    Raises:
        SchemaMismatch: it is older or newer; the message says what to do.
        StorageUnavailable: it does not answer.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).exists():
        raise SchemaMismatch("none", head(), "there is no such file; run `brainformer db upgrade`")
    engine = make_engine(parsed)
    try:
        with engine.connect() as connection:
            check_connection(connection)
    except DBAPIError as error:
        raise storage_error(error) from error
    finally:
        engine.dispose()


def check_connection(connection: Connection) -> None:
    """Like `check`, on an open connection."""
    found = current(connection)
    if found == head():
        return
    older = found is None or found in _revisions()
    raise SchemaMismatch(found or "none", head(), UPGRADE if older else NEWER)


def prepare(engine: Engine) -> None:
    """Creates the schema of an empty database; refuses one that is not this version's."""
    try:
        with engine.connect() as connection:
            empty = current(connection) is None and not inspect(connection).get_table_names()
            if not empty:
                check_connection(connection)
    except DBAPIError as error:
        raise storage_error(error) from error
    if empty:
        upgrade_engine(engine)


def backup(url: str, path: Path | str) -> None:
    """Copies a SQLite database, in use or not, to a new file.

    Raises:
        Conflict: the file exists already.
        EnvironmentProblem: the database is PostgreSQL, which has its own tool.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or is_memory(parsed):
        raise EnvironmentProblem("only a SQLite file is copied here", "use pg_dump for PostgreSQL")
    source = Path(str(parsed.database))
    if not source.exists():
        raise EnvironmentProblem(f"there is no database {source}", "check the URL")
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        part.unlink(missing_ok=True)
        part.touch(0o600)
        copy_database(source, part)
        with part.open("rb") as copy:
            os.fsync(copy.fileno())
        os.link(part, target)  # fails if the file exists already
    except FileExistsError:
        raise Conflict(f"{target} exists already; choose a new file") from None
    except (sqlite3.Error, OSError) as error:
        raise EnvironmentProblem(
            f"cannot back up to {target}: {error}", "choose another"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def copy_database(source: Path, target: Path) -> None:
    """Copies a SQLite file, in use or not, into one file without a log beside it."""
    reader = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    writer = sqlite3.connect(target)
    try:
        reader.backup(writer)
        writer.execute("PRAGMA journal_mode = DELETE")
    finally:
        writer.close()
        reader.close()


@cache
def _revisions() -> frozenset[str]:
    script = ScriptDirectory.from_config(_config())
    return frozenset(revision.revision for revision in script.walk_revisions())
