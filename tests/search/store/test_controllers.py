"""Several threads, several controllers: nothing granted twice, nothing counted twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from brainformer.search.sql.store import SqlStore, open_store
from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import StorageUnavailable, StoreLocked
from brainformer.search.store.actor import Actor
from brainformer.search.trials.lease_messages import ClaimRequest, Progress
from brainformer.search.trials.trial import TrialKind, TrialStatus
from tests.postgres import PostgresServer
from tests.search.store.audit import check_everything
from tests.search.store.site import (
    ME,
    Site,
    completed,
    point,
    spec,
)

THREADS = 8


def test_a_second_controller_on_the_same_file_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    first = open_store(url)
    with pytest.raises(StoreLocked, match="another controller"):
        open_store(url)
    (tmp_path / "alias.db").symlink_to(tmp_path / "search.db")
    with pytest.raises(StoreLocked):
        open_store(f"sqlite:///{tmp_path / 'alias.db'}")
    first.close()
    open_store(url).close()


def test_the_command_line_visits_a_file_beside_its_controller(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    controller = open_store(url)
    visitor = open_store(url, exclusive=False)
    _, secret = visitor.create_token("ci", ["read"], expires_in_seconds=None, actor=ME)
    visitor.close()
    assert controller.find_token(secret) is not None
    controller.close()


def test_a_closed_store_serves_no_more(site: Site) -> None:
    site.store.close()
    with pytest.raises(StorageUnavailable, match="shutting down"):
        site.create()
    site.store = site.open()


@contextmanager
def controllers(site: Site) -> Iterator[list[SqlStore]]:
    """Yields the stores to work with: two controllers where the database allows it."""
    if not site.postgres:
        yield [site.store, site.store]
        return
    second = site.open()
    yield [site.store, second]
    second.close()


def test_trials_claimed_at_once_are_granted_once_and_counted_once(site: Site) -> None:
    search_id = site.started(limits={"trials": 60}, confirmations=2, max_attempts=5)

    def work(store: SqlStore, name: str) -> None:
        request = ClaimRequest(worker_id=name, pool="cpu", count=2)
        while store.get_search(search_id).status is SearchStatus.RUNNING:
            for lease in store.claim(request):
                store.progress(lease.lease_id, Progress())
                store.progress(lease.lease_id, Progress(point=point(0.1, 3.0)))
                result = completed(2.0 + lease.trial_number % 7 / 10)
                assert not store.result(lease.lease_id, result).duplicate
                assert store.result(lease.lease_id, result).duplicate

    with controllers(site) as stores, ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(work, stores[n % 2], f"w-{n}") for n in range(THREADS)]
        for job in jobs:
            job.result()
    search = site.search(search_id)
    assert search.status is SearchStatus.COMPLETED
    assert search.candidates_proposed == 60
    digests = [one.digest for one in site.trials(search_id, kinds=[TrialKind.CANDIDATE])]
    assert len(set(digests)) == 60
    check_everything(site.store, search_id)
    assert sum(one.finished for one in site.store.workers()) == search.counts[TrialStatus.COMPLETED]


def test_a_result_reported_by_many_at_once_is_recorded_once(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    with controllers(site) as stores, ThreadPoolExecutor(THREADS) as pool:
        receipts = list(
            pool.map(lambda n: stores[n % 2].result(lease.lease_id, completed()), range(THREADS))
        )
    assert sorted(one.duplicate for one in receipts) == [False] + [True] * (THREADS - 1)
    assert len({one.fitness for one in receipts}) == 1
    check_everything(site.store, search_id)


def test_reapers_at_once_requeue_every_lapsed_trial_once(site: Site) -> None:
    search_id = site.started()
    site.claim(count=20)
    site.clock.advance(61)
    with controllers(site) as stores, ThreadPoolExecutor(THREADS) as pool:
        counts = list(pool.map(lambda n: stores[n % 2].reap(), range(THREADS)))
    counts.append(site.store.reap())
    assert sum(counts) == 20
    check_everything(site.store, search_id)


def test_heartbeats_cancellation_and_reaping_never_wait_in_a_circle(site: Site) -> None:
    searches = [site.started(name=f"s{index}", max_attempts=9) for index in range(3)]
    leases = site.claim(count=24, worker="a") + site.claim(count=12, worker="b")
    ended = threading.Event()

    def beat(store: SqlStore, part: int) -> None:
        while not ended.is_set():
            for lease in leases[part::4]:
                try:
                    store.progress(lease.lease_id, Progress())
                except Exception as error:
                    if type(error).__name__ != "LeaseLost":
                        raise

    def upset(store: SqlStore) -> None:
        for search_id in searches:
            store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
            store.change_status(search_id, SearchStatus.RUNNING, actor=ME)
            site.clock.advance(61)
            store.reap()
            store.claim(ClaimRequest(worker_id="a", pool="cpu", count=4))
            store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)

    with controllers(site) as stores, ThreadPoolExecutor(6) as pool:
        beats = [pool.submit(beat, stores[part % 2], part) for part in range(4)]
        try:
            pool.submit(upset, stores[0]).result()
        finally:
            ended.set()
        for job in beats:
            job.result()
    for search_id in searches:
        check_everything(site.store, search_id)


def test_the_same_key_at_once_creates_one_search(site: Site) -> None:
    with controllers(site) as stores, ThreadPoolExecutor(THREADS) as pool:
        made = list(
            pool.map(
                lambda n: (
                    stores[n % 2]
                    .create_search(spec(), actor=Actor(f"a{n}"), idempotency_key="k")
                    .id
                ),
                range(THREADS),
            )
        )
    assert len(set(made)) == 1
    assert len(site.store.list_searches().items) == 1


def test_events_become_visible_in_the_order_of_their_numbers(site: Site) -> None:
    search_id = site.started(limits={"trials": 80})
    ended = threading.Event()
    seen: list[int] = []

    def follow(store: SqlStore) -> None:
        newest = 0
        while True:
            last = ended.wait(0.001)  # without a pause it would keep the interpreter's lock
            found = store.events(after=newest)
            seen.extend(one.seq for one in found)
            newest = found[-1].seq if found else newest
            if last and not found:
                return

    def work(store: SqlStore, name: str) -> None:
        request = ClaimRequest(worker_id=name, pool="cpu")
        while leases := store.claim(request):
            store.result(leases[0].lease_id, completed())

    with controllers(site) as stores, ThreadPoolExecutor(THREADS + 1) as pool:
        reader = pool.submit(follow, stores[1])
        jobs = [pool.submit(work, stores[n % 2], f"w-{n}") for n in range(4)]
        for job in jobs:
            job.result()
        ended.set()
        reader.result()
    assert seen == [one.seq for one in site.store.events(limit=1000)]
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_readers_are_not_held_up_by_a_writer(site: Site) -> None:
    search_id = site.started()
    site.run(2)
    with site.store._database.write() as tx:
        tx.connection.exec_driver_sql("UPDATE searches SET reason = 'half done'")
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(site.search, search_id).result(timeout=5)
    assert seen.reason == ""


def test_a_reader_sees_one_state_from_its_first_query_to_its_last(site: Site) -> None:
    search_id = site.started()
    count = "SELECT count(*) FROM trials"
    with site.store._database.read() as tx:
        before = tx.connection.exec_driver_sql(count).scalar_one()
        site.run(3)
        assert tx.connection.exec_driver_sql(count).scalar_one() == before
    assert len(site.trials(search_id)) == before + 3


def test_one_controller_does_not_wait_for_a_search_that_another_holds(
    postgres: PostgresServer,
) -> None:
    site = Site(postgres.create_with_schema())
    busy, free = site.started(name="busy"), site.create(name="free")
    second = site.open()
    with site.store._database.write() as tx:
        tx.connection.exec_driver_sql(f"SELECT 1 FROM searches WHERE id = '{busy}' FOR UPDATE")
        with ThreadPoolExecutor(1) as pool:
            request = ClaimRequest(worker_id="w", pool="cpu")
            lease = pool.submit(second.claim, request).result(timeout=5)[0]
    assert lease.search_id == free
    second.close()
    site.store.close()
    postgres.drop(site.url)
