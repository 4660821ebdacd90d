"""The databases over which the store's suite runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.search.store_site import Site

DATABASES = ("memory", "file", "postgres")


@pytest.fixture(params=DATABASES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A fresh store on each database."""
    yield from _site(request.param, request, tmp_path)


@pytest.fixture(params=("file", "postgres"))
def kept_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A fresh store on each database that outlives its store."""
    yield from _site(request.param, request, tmp_path)


def _site(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Site]:
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        site = Site(server.create_with_schema())
        yield site
        site.store.close()
        server.drop(site.url)
    else:
        site = Site("sqlite://" if kind == "memory" else f"sqlite:///{folder / 'search.db'}")
        yield site
        site.store.close()
