"""Fresh SQLite databases of the suite: made by the migrations once in a process, then copied.

A thousand tests begin with an empty database, and the migrations take a tenth of a second of a
processor for each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from brainformer.search.sql.connection import migration


@contextmanager
def schema_made_once() -> Iterator[None]:
    """Has an empty SQLite database get its schema from the first one."""
    migrate = migration.upgrade_engine
    first = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    migrate(first)

    def upgrade_engine(engine: Engine, *, revision: str = "head") -> None:
        if engine.dialect.name != "sqlite" or revision != "head" or not _is_empty(engine):
            migrate(engine, revision=revision)
            return
        with closing(first.raw_connection()) as made, closing(engine.raw_connection()) as fresh:
            _bare(made.driver_connection).backup(_bare(fresh.driver_connection))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migration, "upgrade_engine", upgrade_engine)
        yield
    first.dispose()


def _is_empty(engine: Engine) -> bool:
    try:
        return not inspect(engine).get_table_names()
    except DBAPIError:  # no database, or not to be read: the migrations say so
        return False


def _bare(connection: object) -> sqlite3.Connection:
    assert isinstance(connection, sqlite3.Connection)
    return connection
