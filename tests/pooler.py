"""A pooler in transaction mode, as PgBouncer is one: each transaction gets another server.

It speaks enough of PostgreSQL's protocol: it answers the start itself, refuses startup parameters
that it does not know, and hands a server back when that says that no transaction is open.
"""

from __future__ import annotations

import itertools
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url

KNOWN = {b"user", b"database", b"client_encoding", b"application_name", b"DateStyle", b"TimeZone"}
SSL_REQUEST = 80_877_103
GSS_REQUEST = 80_877_104


def read_exactly(one: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        data = one.recv(count - len(found))
        if not data:
            raise ConnectionError
        found += data
    return found


def read_message(one: socket.socket) -> tuple[bytes, bytes]:
    """Returns the kind of a message, and the whole of it."""
    head = read_exactly(one, 5)
    return head[:1], head + read_exactly(one, struct.unpack("!I", head[1:])[0] - 4)


class Pooler:
    """Stands before a server on a UNIX socket with trust authentication.

    Args:
        url: Of the database.
        ignores_options: Whether startup parameters are dropped rather than refused.
        servers: Connections to the server.
    """

    def __init__(self, url: str, *, ignores_options: bool = False, servers: int = 4) -> None:
        self._target = make_url(url)
        self._ignores = ignores_options
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._servers: queue.LifoQueue[socket.socket] = queue.LifoQueue()
        self._greeting = b""
        self._turn = itertools.count()
        for _ in range(servers):
            self._servers.put(self._server())
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, **query: str) -> str:
        """Returns the URL of the same database, by way of the pooler."""
        host, port = self._listener.getsockname()
        there = self._target.set(host=host, port=port, query={"sslmode": "disable", **query})
        return there.render_as_string(hide_password=False)

    def close(self) -> None:
        """Ends all."""
        self._listener.close()
        while not self._servers.empty():
            self._servers.get().close()

    def _server(self) -> socket.socket:
        found = socket.socket(socket.AF_UNIX)
        found.connect(f"{self._target.query['host']}/.s.PGSQL.5432")
        named = {"user": self._target.username, "database": self._target.database}
        body = struct.pack("!I", 196_608)
        for name, value in named.items():
            body += f"{name}\0{value}\0".encode()
        body += b"\0"
        found.sendall(struct.pack("!I", len(body) + 4) + body)
        greeting = b""
        while True:
            kind, message = read_message(found)
            greeting += message
            if kind == b"Z":
                self._greeting = greeting
                return found

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, ConnectionError), client:
            if not self._start(client):
                return
            while True:
                self._transaction(client)

    def _start(self, client: socket.socket) -> bool:
        while True:
            (length,) = struct.unpack("!I", read_exactly(client, 4))
            body = read_exactly(client, length - 4)
            (version,) = struct.unpack("!I", body[:4])
            if version not in {SSL_REQUEST, GSS_REQUEST}:
                break
            client.sendall(b"N")
        words = body[4:].split(b"\0")
        unknown = {name for name in words[:-2:2] if name} - KNOWN
        if unknown and not self._ignores:
            told = b"SFATAL\0C08P01\0Munsupported startup parameter: " + min(unknown) + b"\0\0"
            client.sendall(b"E" + struct.pack("!I", len(told) + 4) + told)
            return False
        client.sendall(self._greeting)
        return True

    def _transaction(self, client: socket.socket) -> None:
        """Serves from a client's first message until the server says that it is idle."""
        kind, message = read_message(client)
        if kind == b"X":
            raise ConnectionError
        server = self._servers.get()
        with suppress(queue.Empty):  # by turns another one
            for _ in range(next(self._turn) % 2):
                other = self._servers.get_nowait()
                self._servers.put(server)
                server = other
        whole = False
        try:
            while True:
                server.sendall(message)
                if kind in b"QS" and self._answered(server, client):
                    whole = True
                    return
                kind, message = read_message(client)
        finally:
            self._servers.put(server if whole else self._server())
            if not whole:
                server.close()

    def _answered(self, server: socket.socket, client: socket.socket) -> bool:
        """Passes answers on; returns whether no transaction is open afterwards."""
        while True:
            kind, message = read_message(server)
            client.sendall(message)
            if kind == b"Z":
                return message[5:6] == b"I"


@contextmanager
def pooler(url: str, *, ignores_options: bool = False) -> Iterator[Pooler]:
    """Yields a pooler before the database of that URL."""
    found = Pooler(url, ignores_options=ignores_options)
    try:
        yield found
    finally:
        found.close()
