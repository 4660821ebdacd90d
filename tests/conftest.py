"""What every folder of tests may ask for."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer, postgres_server
from tests.schema import schema_made_once


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell has what it starts in the background ignore SIGINT, and all that this starts too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def schema() -> Iterator[None]:
    """See tests/schema.py."""
    with schema_made_once():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, started when the first test asks for it."""
    with postgres_server() as server:
        yield server
