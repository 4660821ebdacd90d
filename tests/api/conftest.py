"""What tests of the controller share: a database of either kind, a controller, a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.dashboard.site import ScriptedWorker, Site
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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A controller on a SQLite file of its own."""
    found = Site(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def worker(site: Site) -> Iterator[ScriptedWorker]:
    """A worker of that controller, whose results the test decides."""
    found = ScriptedWorker(site)
    yield found
    found.http.close()
