"""A relay before a PostgreSQL server that can fall silent: it listens, and nothing arrives."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url


class Relay:
    """Passes bytes on, both ways, until it is told to swallow them."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._passes = threading.Event()
        self._passes.set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the same database, by way of the relay."""
        host, port = self._listener.getsockname()
        there = self._target.set(host=host, port=port, query={"sslmode": "disable"})
        return there.render_as_string(hide_password=False)

    def fall_silent(self) -> None:
        """Swallows whatever is sent from now on."""
        self._passes.clear()

    def speak(self) -> None:
        """Passes on again; what was swallowed has been lost, so those connections end."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()
        self._passes.set()

    def close(self) -> None:
        """Ends all connections."""
        self.speak()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = self._reach()
                except OSError:  # the server is down, as it would be without a relay
                    near.close()
                    continue
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _reach(self) -> socket.socket:
        folder = str(self._target.query.get("host") or self._target.host)
        if folder.startswith("/"):
            found = socket.socket(socket.AF_UNIX)
            found.connect(f"{folder}/.s.PGSQL.{self._target.port or 5432}")
            return found
        return socket.create_connection((folder, self._target.port or 5432))

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                if self._passes.is_set():
                    other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(url: str) -> Iterator[Relay]:
    """Yields a relay before the database of that URL."""
    found = Relay(url)
    try:
        yield found
    finally:
        found.close()
