"""The databases over which the store's suite runs. The state machine runs in memory too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from brainformer.search.sql.connection.migration import upgrade
from tests.postgres import PostgresServer
from tests.search.ask_tell.bench import Bench
from tests.search.store.site import Site


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


@pytest.fixture(params=("memory", "file", "postgres"))
def bench(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> Iterator[Bench]:
    """Searches for ask and tell, in memory and on each database."""
    yield from _bench(request, tmp_path, migrated_file)


@pytest.fixture(params=("file", "postgres"))
def kept(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> Iterator[Bench]:
    """The same on each database, which outlives the process."""
    yield from _bench(request, tmp_path, migrated_file)


def _bench(request: pytest.FixtureRequest, folder: Path, migrated: Path) -> Iterator[Bench]:
    if request.param == "memory":
        yield Bench(None)
    elif request.param == "file":
        file = folder / "mine.db"
        shutil.copy(migrated, file)
        bench = Bench(f"sqlite:///{file}")
        yield bench
        bench.close()
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        bench = Bench(server.create_with_schema())
        yield bench
        bench.close()
        server.drop(str(bench.url))
