"""The databases over which the store's suite runs. The state machine runs in memory too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.migration import upgrade
from tests.postgres import PostgresServer
from tests.search.store_site import Site


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the present schema, to be copied: cheaper than to make it anew."""
    file = tmp_path_factory.mktemp("schema") / "empty.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(params=("sqlite", "postgres"))
def site(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> Iterator[Site]:
    """A fresh store on each database."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        site = Site(server.create_with_schema())
        yield site
        site.store.close()
        server.drop(site.url)
    else:
        file = tmp_path / "search.db"
        shutil.copy(migrated_file, file)
        site = Site(f"sqlite:///{file}")
        yield site
        site.store.close()
