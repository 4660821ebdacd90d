"""A fresh database of either kind for a test of the REST interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a search; the test runs once on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'rest.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create_with_schema()
    try:
        yield url
    finally:
        server.drop(url)
