import asyncio
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from brainformer.api.gate.stream_limit import StreamLimit
from brainformer.api.live.event_hub import BATCH, REMEMBERED, EventHub
from brainformer.api.problems.problem import HttpProblem
from brainformer.search.store.records import EventRecord
from tests.api.rest_site import (
    ROOT,
    claim,
    create,
    finish,
    served,
    token,
)


class FakeStore:
    """Events in memory; `read` counts how often they were asked for."""

    def pulse(self) -> None:
        pass

    def __init__(self) -> None:
        self.kept: list[EventRecord] = []
        self.read = 0

    def add(self, kind: str = "trial.progress", search_id: str = "a") -> int:
        seq = len(self.kept) + 1
        self.kept.append(
            EventRecord(seq=seq, search_id=search_id, kind=kind, at=datetime.now(UTC), data={})
        )
        return seq

    def events(self, *, search_id=None, after=0, limit=500):
        self.read += 1
        found = [e for e in self.kept[after:] if search_id in (None, e.search_id)]
        return found[:limit]

    def last_event(self, search_id=None) -> int:
        return len(self.kept)

    def reap(self) -> int:
        return 0


def with_hub(scenario) -> None:
    async def run() -> None:
        store = FakeStore()
        seen: list[EventRecord] = []
        hub = EventHub(
            store,
            poll_seconds=0.05,
            reap_seconds=60,
            on_event=seen.append,
            on_failure=lambda _name: None,
        )
        await hub.start()
        try:
            await scenario(hub, store)
        finally:
            await hub.stop()
        assert [e.seq for e in seen] == sorted({e.seq for e in seen})

    asyncio.run(run())


async def read_all(hub, after: int, search_id: str | None, until: int) -> list[int]:
    seqs: list[int] = []
    while after < until:
        found, reached = await hub.after(after, search_id)
        seqs += [event.seq for event in found]
        if reached == after:
            await hub.wait(5)
        after = max(after, reached)
    return seqs


def test_a_reader_gets_every_event_of_its_search_once_in_order():
    async def scenario(hub, store):
        reader = asyncio.create_task(read_all(hub, 0, "a", 3 * BATCH))
        for _ in range(3 * BATCH // 2):
            store.add(search_id="a")
            store.add(search_id="b")
            if len(store.kept) % 200 == 0:
                hub.poke()
                await asyncio.sleep(0.03)
        assert await asyncio.wait_for(reader, 20) == list(range(1, 3 * BATCH, 2))

    with_hub(scenario)


def test_a_reader_far_behind_reads_the_database_then_memory():
    async def scenario(hub, store):
        for _ in range(REMEMBERED + 2 * BATCH):
            store.add()
        newest = len(store.kept)
        assert await asyncio.wait_for(read_all(hub, 0, None, newest), 20) == list(
            range(1, newest + 1)
        )
        before = store.read
        assert await hub.after(newest - 3, "a") == (store.kept[-3:], newest)
        assert store.read == before

    with_hub(scenario)


def test_work_is_told_from_mere_progress():
    async def scenario(hub, store):
        seen = hub.work
        store.add("trial.progress")
        hub.poke()
        await hub.wait(5)
        assert hub.work == seen
        store.add("trial.requeued")
        hub.poke()
        await asyncio.wait_for(hub.wait_for_work(seen, 60), 5)
        assert hub.work == seen + 1

    with_hub(scenario)


def test_closing_wakes_whoever_waits():
    async def scenario(hub, store):
        waiting = [asyncio.create_task(hub.wait_for_work(hub.work, 60)) for _ in range(3)]
        await asyncio.sleep(0)
        hub.close()
        await asyncio.wait_for(asyncio.gather(*waiting), 5)

    with_hub(scenario)


def test_streams_are_limited_in_all_and_for_each_address():
    limit = StreamLimit(total=3, per_client=2)
    with limit.taken("a"), limit.taken("a"):
        with pytest.raises(HttpProblem), limit.taken("a"):
            pass
        with limit.taken("b"), pytest.raises(HttpProblem), limit.taken("c"):
            pass
    assert limit.open == 0


class Reader(threading.Thread):
    """Reads a stream in a thread until it ends; `events` holds (id, kind, data)."""

    def __init__(self, base: str, path: str, after: int | None = None, secret: str = "") -> None:
        super().__init__(daemon=True)
        self.events: list[tuple[int, str, dict]] = []
        self.comments = 0
        self.status = 0
        self._http = httpx2.Client(base_url=base, timeout=30, trust_env=False)
        self._path = path
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        if after is not None:
            self._headers["Last-Event-ID"] = str(after)
        self.open = threading.Event()
        self.leave_after: int | None = None
        self.start()

    def run(self) -> None:
        fields: dict[str, str] = {}
        with self._http.stream("GET", f"{ROOT}{self._path}", headers=self._headers) as answer:
            self.status = answer.status_code
            for line in answer.iter_lines():
                self.open.set()
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    body = json.loads(fields["data"])
                    self.events.append((int(fields["id"]), fields["event"], body))
                    fields = {}
                    if len(self.events) == self.leave_after:
                        return
        self.open.set()


def test_a_stream_resumes_after_the_last_event_that_was_received(tmp_path, database_url):
    with served(tmp_path, database_url=database_url) as (http, _):
        base = str(http.base_url)
        search = create(http)["id"]
        first = Reader(base, f"/searches/{search}/events", after=0)
        first.leave_after = 3
        for _ in range(4):
            finish(http, claim(http)[0])
        first.join(timeout=15)
        second = Reader(base, f"/searches/{search}/events?follow=false", after=first.events[-1][0])
        second.join(timeout=15)
        whole = Reader(base, f"/searches/{search}/events?follow=false&after=0")
        whole.join(timeout=15)
        assert first.events + second.events == whole.events
        assert [kind for _, kind, _ in whole.events][:2] == ["search.created", "trial.created"]
        assert all(body["seq"] == seq for seq, _, body in whole.events)


def test_a_reader_that_drops_all_the_time_misses_and_repeats_nothing(tmp_path):
    with served(tmp_path) as (http, _):
        base = str(http.base_url)
        search = create(http, limits={"trials": 60})["id"]
        got: list[int] = []

        def follow() -> None:
            last = 0
            while len(got) < 60:
                reader = Reader(base, f"/searches/{search}/events", after=last)
                reader.leave_after = 7
                reader.join(timeout=15)
                got.extend(seq for seq, _, _ in reader.events)
                last = got[-1]

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        for _ in range(30):
            finish(http, claim(http)[0])
        follower.join(timeout=30)
        whole = Reader(base, f"/searches/{search}/events?follow=false&after=0")
        whole.join(timeout=15)
        assert got == [seq for seq, _, _ in whole.events][: len(got)]
        assert len(got) >= 60


def test_without_a_place_to_start_the_stream_begins_with_what_is_next(tmp_path):
    with served(tmp_path) as (http, _):
        create(http, name="old")
        reader = Reader(str(http.base_url), "/events")
        reader.leave_after = 1
        assert reader.open.wait(10)
        made = create(http, name="new")
        reader.join(timeout=15)
        assert [(kind, body["search_id"]) for _, kind, body in reader.events] == [
            ("search.created", made["id"])
        ]


@pytest.mark.parametrize("last", ["x", "-1", "99999999999999999999999", "1e3", ""])
def test_an_id_that_is_not_ours_begins_with_what_is_next(tmp_path, last):
    with served(tmp_path) as (http, _):
        create(http)
        answer = http.get(f"{ROOT}/events?follow=false", headers={"Last-Event-ID": last})
        assert answer.status_code == 200
        assert "data:" not in answer.text


def test_a_silent_stream_gets_comments(tmp_path):
    with served(tmp_path, heartbeat_seconds=0.1) as (http, _):
        reader = Reader(str(http.base_url), "/events")
        end = time.monotonic() + 10
        while reader.comments < 3:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_stream_of_a_search_that_is_not_there_is_not_found(tmp_path):
    with served(tmp_path) as (http, _):
        assert http.get(f"{ROOT}/searches/none/events").status_code == 404


def test_too_many_streams_are_refused_and_places_come_free(tmp_path):
    with served(tmp_path, max_streams_per_client=1, heartbeat_seconds=0.1) as (http, _):
        first = Reader(str(http.base_url), "/events")
        assert first.open.wait(10)
        refused = http.get(f"{ROOT}/events")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        assert "retry-after" in refused.headers
        create(http)
        export = http.get(f"{ROOT}/searches/laptop/trials.jsonl")
        assert export.status_code == 429
        first.leave_after = 1
        create(http)
        first.join(timeout=10)
        end = time.monotonic() + 10
        while http.get(f"{ROOT}/events?follow=false").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_stream_ends_when_its_token_is_revoked(tmp_path: Path):
    admin = token(tmp_path, "admin")
    with served(tmp_path, heartbeat_seconds=0.2, token_cache_seconds=0) as (http, _):
        http.headers["Authorization"] = f"Bearer {admin}"
        made = http.post(f"{ROOT}/tokens", json={"name": "eye", "scopes": ["read"]}).json()
        reader = Reader(str(http.base_url), "/events", secret=made["secret"])
        assert reader.open.wait(10)
        http.delete(f"{ROOT}/tokens/{made['token']['id']}")
        reader.join(timeout=10)
        assert not reader.is_alive()
        assert reader.status == 200


def test_closing_the_server_ends_open_streams(tmp_path):
    with served(tmp_path) as (http, server):
        readers = [Reader(str(http.base_url), "/events") for _ in range(5)]
        assert all(reader.open.wait(10) for reader in readers)
        began = time.monotonic()
        server.should_exit = True
        for reader in readers:
            reader.join(timeout=10)
            assert not reader.is_alive()
        assert time.monotonic() - began < 4
