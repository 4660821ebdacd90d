"""Connections: how long one may say nothing, how many an address may have, who makes room.

A connection costs a descriptor and nothing else, so a flood of idle or slow ones takes no time from
anybody; but their number is limited. When all are taken, the one that has been idle longest goes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
from collections import Counter, OrderedDict
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from brainformer.api.problems.problem import Problem
from brainformer.api.settings import Settings
from brainformer.search.errors import InvalidInput

log = logging.getLogger("brainformer.server")
RESERVED_FILES = 200  # the database's connections and files, the listener, logs


class Crowd:
    """All connections of one controller.

    Args:
        most: In all.
        most_of_one: From one address; proxies that are trusted may have any number.
        head_seconds: Within which a request's head must arrive.
        trusted: Addresses and networks of proxies.
    """

    def __init__(
        self, *, most: int, most_of_one: int, head_seconds: float, trusted: Iterable[str] = ()
    ) -> None:
        self.most = most
        self.head_seconds = head_seconds
        self._most_of_one = most_of_one
        self._trusted = [ipaddress.ip_network(one, strict=False) for one in trusted]
        self._of: Counter[str] = Counter()
        self._idle: OrderedDict[GuardedConnection, None] = OrderedDict()
        self.turned_away = 0

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._of.total()

    @property
    def idle(self) -> int:
        """How many of them have no request in work."""
        return len(self._idle)

    def figures(self) -> dict[str, float]:
        """Returns the figures for /metrics."""
        return {
            'connections{state="idle"}': self.idle,
            'connections{state="in work"}': self.open - self.idle,
            "connections_most": self.most,
            "connections_turned_away": self.turned_away,
        }

    def enter(self, address: str) -> bool:
        """Counts a connection; returns whether its address may have another.

        If there is no room, the one that has been idle longest is closed.
        """
        self._of[address] += 1
        if self._of[address] > self._most_of_one and not self._is_trusted(address):
            self.turned_away += 1
            return False
        if self.open >= self.most and self._idle:
            longest, _ = self._idle.popitem(last=False)
            longest.give_way()
        return True

    def leave(self, connection: GuardedConnection, address: str) -> None:
        """Forgets a connection."""
        self._idle.pop(connection, None)
        self._of[address] -= 1
        if self._of[address] <= 0:
            del self._of[address]

    def rests(self, connection: GuardedConnection, *, idle: bool) -> None:
        """Notes whether a connection has no request in work."""
        if not idle:
            self._idle.pop(connection, None)
        else:
            self._idle.setdefault(connection)

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)


class GuardedConnection(H11Protocol):
    """uvicorn's connection, with an end to waiting for the head of a request."""

    def __init__(self, *given: Any, crowd: Crowd, **named: Any) -> None:
        super().__init__(*given, **named)
        self._crowd = crowd
        self._address = ""
        self._head_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else "local"
        if self._crowd.enter(self._address):
            self._look()
        else:
            self._end(429, "too_many_connections", "too many connections from this address")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        self._crowd.leave(self, self._address)
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._look()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def give_way(self) -> None:
        """Closes a connection that has no request in work."""
        self.transport.abort()

    def _look(self) -> None:
        """Starts the clock of the next request's head, or stops it once the head is there.

        A single byte does not start it again, or one byte a second would be enough.
        """
        idle = self.cycle is None or self.cycle.response_complete
        self._crowd.rests(self, idle=idle and not self.transport.is_closing())
        if not idle or self.timeout_keep_alive_task is not None or self.transport.is_closing():
            self._cancel()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._crowd.head_seconds, self._too_late)

    def _too_late(self) -> None:
        self._head_timer = None
        limit = f"the head of a request must arrive within {self._crowd.head_seconds:g} s"
        self._end(408, "head_too_slow", limit)

    def _end(self, status: int, code: str, detail: str) -> None:
        problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, code=code)
        body = problem.model_dump_json().encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = h11.Response(status_code=status, headers=headers)
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _cancel(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def affordable_connections(settings: Settings) -> int:
    """Returns how many connections there may be; lifts this process's file limit to hold them.

    Raises:
        InvalidInput: more were asked for than the system lets this process have open.
    """
    wanted = settings.max_connections + RESERVED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        able = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        if able > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (able, hard))
            soft = able
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings.max_connections
    affordable = soft - RESERVED_FILES
    if "max_connections" in settings.model_fields_set or affordable < 10:
        raise InvalidInput(
            f"this process may open {soft} files (ulimit -n), and max_connections needs "
            f"{RESERVED_FILES} more than there are connections; raise the limit, or set "
            f"max_connections to at most {max(0, affordable)}",
            settings.max_connections,
        )
    log.warning("at most %d connections: ulimit -n is %d", affordable, soft)
    return affordable
