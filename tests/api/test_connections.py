"""Connections that say nothing, slowly or in numbers, take nothing from those that work."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx2
import pytest

from brainformer.api.connections import affordable_connections
from brainformer.search.errors import InvalidInput
from tests.api.rest_site import served, settings_for

HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def connected(http: httpx2.Client, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", http.base_url.port or 0), timeout=10, source_address=(source, 0)
    )


def read_all(one: socket.socket) -> bytes:
    found = b""
    while data := one.recv(65_536):
        found += data
    return found


def test_a_head_that_comes_too_slowly_is_ended(tmp_path):
    with served(tmp_path, head_seconds=0.6) as (http, _), connected(http) as slow:
        began = time.monotonic()
        slow.sendall(HEAD)
        for _ in range(3):  # a byte now and then does not help
            time.sleep(0.15)
            slow.sendall(b"X")
        answer = read_all(slow)
        assert b"408" in answer.splitlines()[0]
        assert b'"code":"head_too_slow"' in answer
        assert time.monotonic() - began < 2


def test_a_connection_that_says_nothing_is_ended_and_one_that_works_is_not(tmp_path):
    with served(tmp_path, head_seconds=0.5, idle_seconds=1) as (http, _), connected(http) as mute:
        with http.stream("GET", "/api/v1/events") as stream:  # longer than both limits
            lines = stream.iter_lines()
            assert next(lines).startswith(":")
            assert b"408" in read_all(mute)
            time.sleep(1)
            assert http.get("/healthz").status_code == 200
        with connected(http) as kept:
            for _ in range(3):
                kept.sendall(HEAD + b"\r\n")
                assert b"200 OK" in kept.recv(65_536)
                time.sleep(0.3)
            assert read_all(kept) == b""  # after idle_seconds


def test_an_address_has_only_so_many_connections(tmp_path):
    with served(tmp_path, max_connections_per_client=5) as (http, _), ExitStack() as stack:
        mine = [stack.enter_context(connected(http)) for _ in range(5)]
        time.sleep(0.1)
        with connected(http) as one_more:
            assert b"too_many_connections" in read_all(one_more)
        with connected(http, "127.0.0.2") as of_another:
            of_another.sendall(HEAD + b"\r\n")
            assert b"200 OK" in of_another.recv(65_536)
        mine[0].close()
        time.sleep(0.1)
        assert http.get("/healthz").status_code == 200


def test_trusted_proxies_may_have_any_number(tmp_path):
    given = {"max_connections_per_client": 2, "trusted_proxies": ("127.0.0.0/8",)}
    with served(tmp_path, **given) as (http, _), ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connected(http))
        assert http.get("/healthz").status_code == 200


def test_when_all_connections_are_taken_the_longest_idle_one_goes(tmp_path):
    with served(tmp_path, max_connections=10) as (http, _), ExitStack() as stack:
        idle = [stack.enter_context(connected(http)) for _ in range(10)]
        time.sleep(0.1)
        assert http.get("/healthz").status_code == 200
        idle[0].settimeout(2)
        with suppress(ConnectionResetError):
            assert read_all(idle[0]) == b""
        idle[9].sendall(HEAD + b"\r\n")
        assert b"200 OK" in idle[9].recv(65_536)
        told = http.get("/metrics").text
        assert 'brainformer_connections{state="in work"} 1.0' in told


@pytest.fixture
def few_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_files")
def test_the_file_limit_is_lifted_or_the_setting_refused(tmp_path, monkeypatch):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
    assert affordable_connections(settings_for(tmp_path, max_connections=500)) == 500
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 700
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert affordable_connections(settings_for(tmp_path)) == 824
    with pytest.raises(InvalidInput, match=r"ulimit -n.*at most 824"):
        affordable_connections(settings_for(tmp_path, max_connections=1000))
