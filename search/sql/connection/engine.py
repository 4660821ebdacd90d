"""Engines by URL, and what they are told on connecting."""

from __future__ import annotations

import sqlite3
from typing import cast

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import PoolProxiedConnection, StaticPool

from brainformer.search.errors import InvalidInput
from brainformer.search.sql.connection.postgres import make_postgres_engine
from brainformer.search.store.patience import seconds_left

BUSY_SECONDS = 5.0
SQLITE_CONNECTIONS = 64


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
        return make_postgres_engine(url)
    if is_memory(url):
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        size = 1 if immediate else 16
        connect = {"check_same_thread": False, "timeout": BUSY_SECONDS}
        engine = create_engine(
            url, connect_args=connect, pool_size=size, max_overflow=SQLITE_CONNECTIONS - size
        )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the transaction is ours to begin
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
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
        left = seconds_left()
        if not immediate:
            bare.execute("BEGIN")
        elif left is None or left >= BUSY_SECONDS:
            bare.execute("BEGIN IMMEDIATE")
        else:
            _begin_within(bare, left)

    event.listen(engine, "connect", prepare)
    # By the dialect, not by an event: a listener to any event of an engine slows every statement.
    engine.dialect.do_begin = begin  # type: ignore[method-assign, assignment]
    return engine


def _begin_within(connection: sqlite3.Connection, seconds: float) -> None:
    """Takes the write lock, or gives up after a shorter time than usual."""
    (usual,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {min(usual, 1000 * seconds):.0f}")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {usual}")
