"""Patience: who has waited for too long is told so before any work begins."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from brainformer.search.sql.connection.database import Database
from brainformer.search.sql.connection.postgres import make_postgres_engine
from brainformer.search.storage_errors import StorageHeld
from brainformer.search.store.patience import (
    lengthen,
    patience,
    renew,
    seconds_left,
    too_late,
)
from tests.postgres import PostgresServer


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    url = postgres.create()
    found = Database(url)
    yield found
    found.close()
    postgres.drop(url)


def session_of(database: Database) -> int:
    with database.read() as tx:
        return int(tx.run(text("SELECT pg_backend_pid()")).scalar_one())


def test_nobody_is_too_late_without_a_hurry() -> None:
    assert not too_late()
    with patience() as caller:
        assert not too_late()
        caller.ends = time.monotonic() + 1.0
        assert too_late()
        caller.answered()
        assert not too_late()


def test_a_short_patience_counts_by_its_own_length() -> None:
    with patience(0.5):
        assert not too_late()
        with patience() as caller:  # as every transaction has one
            assert not too_late()
            caller.ends = time.monotonic() + 0.1
            assert too_late()


def test_time_that_the_caller_takes_does_not_count_and_no_more_than_that() -> None:
    lengthen(5.0)  # nobody waits
    with patience() as caller:
        caller.ends = time.monotonic() + 1.0
        lengthen(0.5)
        assert too_late()
        lengthen(2.0)
        assert not too_late()
        assert seconds_left() == pytest.approx(3.5, abs=0.5)
        caller.answered()
        lengthen(1.0)
        assert seconds_left() is None


def test_patience_can_begin_again() -> None:
    with patience() as caller:
        caller.ends = time.monotonic() + 1.0
        renew()
        assert not too_late()


@pytest.mark.parametrize("way", ["write", "read"])
def test_what_comes_too_late_is_refused_and_costs_no_connection(
    database: Database, way: str
) -> None:
    session = session_of(database)
    with patience() as caller:
        caller.ends = time.monotonic() + 1.0
        transaction = database.write() if way == "write" else database.read()
        with pytest.raises(StorageHeld, match="waited for too long"), transaction:
            pass
    assert session_of(database) == session


def test_nothing_is_connected_to_when_no_time_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        engine = make_postgres_engine(make_url(f"postgresql+psycopg://me@{host}:{port}/none"))
        began = time.monotonic()
        with patience(0.1), pytest.raises(OperationalError, match="not answered in time"):
            engine.connect()
        assert time.monotonic() - began < 1.5  # the driver alone would wait for two
        engine.dispose()
