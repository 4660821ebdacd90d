"""Patience: who has waited for too long is told so before any work begins."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from brainformer.search.sql.connection.database import Database
from brainformer.search.storage_errors import StorageHeld
from brainformer.search.store.patience import patience, renew, too_late
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


def test_a_body_that_took_long_is_not_held_against_its_sender() -> None:
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
