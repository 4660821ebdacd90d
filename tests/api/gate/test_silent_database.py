"""A database that does not answer: everybody is answered within 10 s, and nothing is lost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psycopg
import pytest

from tests.api.rest_site import DONE, ROOT, SPEC, create, finish, served, to_candidates
from tests.postgres import PostgresServer
from tests.relay import Relay, relay

pytestmark = pytest.mark.slow

LONGEST_SECONDS = 10.0


@pytest.fixture
def server_url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_with_schema()
    yield url
    postgres.drop(url)


@pytest.fixture
def relayed(server_url: str) -> Iterator[Relay]:
    with relay(server_url) as found:
        yield found


def timed(ask: Callable[[], httpx2.Response]) -> tuple[float, httpx2.Response]:
    began = time.monotonic()
    answer = ask()
    return time.monotonic() - began, answer


def questions(http: httpx2.Client, lease_id: str) -> dict[str, Callable[[], httpx2.Response]]:
    return {
        "result": lambda: http.post(f"{ROOT}/leases/{lease_id}/result", json=DONE),
        "progress": lambda: http.post(f"{ROOT}/leases/{lease_id}/progress", json={}),
        "claim": lambda: http.post(
            f"{ROOT}/leases/claim", json={"worker_id": "w-2", "pool": "cpu"}
        ),
        "create": lambda: http.post(f"{ROOT}/searches", json=SPEC),
        "list": lambda: http.get(f"{ROOT}/searches"),
        "ready": lambda: http.get("/readyz"),
    }


def asked(asks: list[Callable[[], httpx2.Response]]) -> list[tuple[float, httpx2.Response]]:
    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(timed, asks))


def test_a_silent_server_is_told_in_time_and_costs_nothing(tmp_path: Any, relayed: Relay) -> None:
    with served(tmp_path, database_url=relayed.url) as (http, _):
        http.timeout = httpx2.Timeout(60, pool=None)
        create(http, lease_seconds=15, max_attempts=1)
        lease = to_candidates(http)
        relayed.fall_silent()
        every = list(questions(http, lease["lease_id"]).values())
        for seconds, answer in asked(every * 12):  # more than there are threads and connections
            assert seconds < LONGEST_SECONDS, answer.url
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
        seconds, answer = timed(lambda: http.get("/metrics"))
        assert (answer.status_code, seconds < LONGEST_SECONDS) == (200, True)
        assert "brainformer_database_up 0.0" in answer.text
        assert timed(lambda: http.get("/healthz"))[0] < 1
        relayed.speak()
        time.sleep(0.1)
        assert finish(http, lease)["status"] == "completed"
        end = time.monotonic() + 30  # the background tasks look again after a pause
        while http.get("/readyz").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_a_lock_in_somebodys_session_holds_up_nobody_else(tmp_path: Any, server_url: str) -> None:
    with served(tmp_path, database_url=server_url) as (http, _):
        http.timeout = httpx2.Timeout(60, pool=None)
        create(http, lease_seconds=15, max_attempts=1)
        lease = to_candidates(http)
        asks = questions(http, lease["lease_id"])
        plain = server_url.replace("+psycopg", "")
        with psycopg.connect(plain) as psql:
            psql.execute("SELECT * FROM searches FOR UPDATE")
            with ThreadPoolExecutor(60) as pool:
                stuck = [pool.submit(timed, asks["result"]) for _ in range(60)]
                time.sleep(1)
                seconds, answer = timed(asks["ready"])
                assert (answer.status_code, seconds < 2) == (200, True), answer.text
                assert timed(asks["list"])[0] < LONGEST_SECONDS
                assert [one for one in stuck if one.result()[0] > LONGEST_SECONDS] == []
            answers = [one.result()[1] for one in stuck]
            assert {answer.status_code for answer in answers} == {503}
            # Who had waited for a thread before ends the wait before the server does.
            codes = {answer.json()["code"] for answer in answers}
            assert "storage_held" in codes <= {"storage_held", "storage_unreachable"}
            assert all("retry-after" in answer.headers for answer in answers)
            seconds, answer = timed(asks["claim"])
            assert (answer.status_code, seconds < LONGEST_SECONDS) == (503, True)
            time.sleep(2)
            psql.rollback()
        time.sleep(1)
        assert finish(http, lease)["status"] == "completed"


def test_a_held_file_holds_up_writers_alone(tmp_path: Any) -> None:
    with served(tmp_path) as (http, _):
        http.timeout = httpx2.Timeout(60, pool=None)
        create(http, lease_seconds=15, max_attempts=1)
        lease = to_candidates(http)
        asks = questions(http, lease["lease_id"])
        other = sqlite3.connect(tmp_path / "rest.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writes = [asks[name] for name in ("result", "progress", "claim", "create")]
        for seconds, answer in asked(writes * 10):
            assert seconds < LONGEST_SECONDS
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_held")
            assert int(answer.headers["retry-after"]) >= 1
        seconds, answer = timed(asks["list"])
        assert (answer.status_code, seconds < 2) == (200, True)
        other.rollback()
        other.close()
        assert finish(http, lease)["status"] == "completed"
