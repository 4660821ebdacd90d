"""The disk full, the database gone, the connection cut: defined, and nothing lost.

docs/store.md says what happens; the clock set back is in `test_store_expiry.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import StorageUnavailable
from brainformer.search.trials.lease_messages import (
    ClaimRequest,
    Lease,
    Progress,
    Result,
)
from brainformer.search.trials.trial import Outcome, TrialStatus
from tests.postgres import PostgresServer, postgres_server
from tests.search.store.audit import check_everything
from tests.search.store.site import (
    ME,
    Site,
    completed,
    spec,
)

T = TypeVar("T")


@pytest.fixture
def file_site(tmp_path: Path) -> Iterator[Site]:
    site = Site(f"sqlite:///{tmp_path / 'search.db'}")
    yield site
    site.store.close()


def limit_pages(site: Site, free: int | None) -> None:
    """Lets the database grow by `free` pages and no more; None for without bound."""
    with site.store._database.write() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        most = 2**30 if free is None else pages + free
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")


def heavy(number: int) -> Result:
    return Result(outcome=Outcome.DIVERGED, message=f"m{number}", traceback="x" * 50_000)


def fill(site: Site) -> tuple[Lease, Result]:
    """Reports results until the disk is full; returns the one that was not recorded."""
    limit_pages(site, 60)
    for number in range(100):
        lease = site.claim_one()
        try:
            site.store.result(lease.lease_id, heavy(number))
        except StorageUnavailable:
            return lease, heavy(number)
    raise AssertionError("the disk was never full")


def test_a_full_disk_refuses_writes_whole_and_goes_on_reading(file_site: Site) -> None:
    site = file_site
    search_id = site.started()
    _, secret = site.store.create_token("ci", ["read"], expires_in_seconds=None, actor=ME)
    lease, result = fill(site)
    before = site.search(search_id), site.store.last_event()
    for _ in range(3):
        with pytest.raises(StorageUnavailable, match="the disk is full"):
            site.store.result(lease.lease_id, result)
    assert (site.search(search_id), site.store.last_event()) == before
    assert site.trial(lease).status is TrialStatus.RUNNING
    assert site.store.find_token(secret) is not None
    site.store.check()
    check_everything(site.store, search_id)


def test_once_there_is_space_again_the_result_is_recorded_once(file_site: Site) -> None:
    site = file_site
    search_id = site.started()
    lease, result = fill(site)
    limit_pages(site, None)
    assert not site.store.result(lease.lease_id, result).duplicate
    assert site.store.result(lease.lease_id, result).duplicate
    check_everything(site.store, search_id)
    site.run(2)


def test_no_lease_lapses_for_heartbeats_that_a_full_disk_refused(file_site: Site) -> None:
    site = file_site
    site.started()
    alive = site.claim_one()
    fill(site)
    site.clock.advance(600)
    with pytest.raises(StorageUnavailable):
        site.store.result(alive.lease_id, heavy(0))
    limit_pages(site, None)
    assert site.store.reap() == 0
    assert site.beat(alive) == "continue"
    site.clock.advance(61)
    assert site.store.reap() == 2


def test_a_read_only_folder_is_told_apart_from_a_full_disk(tmp_path: Path) -> None:
    site = Site(f"sqlite:///{tmp_path / 'search.db'}")
    with site.store._database.write() as tx:
        tx.connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(StorageUnavailable, match="read-only"):
        site.create()
    site.store.close()


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A PostgreSQL of its own, to be stopped."""
    with postgres_server() as server:
        yield server


def test_a_database_that_is_gone_and_comes_back_has_lost_nothing(mortal: PostgresServer) -> None:
    site = Site(mortal.create_with_schema())
    search_id = site.started()
    done = site.run(3)
    alive, finished_meanwhile, dead = site.claim(count=3)
    mortal.stop()
    began = time.monotonic()
    for ask in (
        lambda: site.beat(alive),
        lambda: site.finish(finished_meanwhile),
        lambda: site.claim(),
        lambda: site.search(search_id),
        lambda: site.store.create_search(spec(), actor=ME),
        site.store.reap,
        site.store.check,
        site.store.statistics,
    ):
        with pytest.raises(StorageUnavailable):
            ask()
    assert time.monotonic() - began < 10, "an absent database is told at once"
    site.clock.advance(90)  # longer than a lease
    mortal.start()
    assert site.store.reap() == 0
    assert site.beat(alive) == "continue"
    assert site.finish(finished_meanwhile).status == "completed"
    site.clock.advance(59)
    site.beat(alive)
    site.clock.advance(2)
    assert site.store.reap() == 1
    assert site.trial(dead).status is TrialStatus.QUEUED
    assert site.finish(alive).status == "completed"
    expected = [one.trial_number for one in done[1:]] + [5, 4]
    assert [one.number for one in site.store.population(search_id)] == expected[-4:]
    check_everything(site.store, search_id)
    site.store.close()


def test_a_connection_that_the_server_closed_is_noticed_before_it_is_used(
    mortal: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(mortal.create_with_schema())
    search_id = site.started()
    dialect, pings = site.store._database.engine.dialect, []
    alive = dialect.do_ping
    monkeypatch.setattr(dialect, "do_ping", lambda one: pings.append(one) or alive(one))
    for _ in range(3):
        site.claim()
    assert pings == []  # a ping is a round trip
    for _ in range(5):
        mortal.cut_connections()
        assert site.search(search_id).status is SearchStatus.RUNNING
        site.claim()
    assert len(pings) >= 5
    monkeypatch.setattr("brainformer.search.sql.connection.postgres.SILENT_SECONDS", 0.0)
    before = len(pings)
    site.claim()
    assert len(pings) > before
    site.store.close()


class Stubborn:
    """A worker that asks until it is answered, as dispatchers do."""

    def __init__(self, site: Site, search_id: str) -> None:
        self.site, self.search_id = site, search_id
        self.receipts: dict[int, str] = {}

    def insist(self, ask: Callable[..., T], *given: object) -> T:
        while True:
            try:
                return ask(*given)
            except StorageUnavailable:
                time.sleep(0.01)

    def work(self, name: str) -> None:
        store, request = self.site.store, ClaimRequest(worker_id=name, pool="cpu")
        while self.insist(self.site.status, self.search_id) is SearchStatus.RUNNING:
            leases = self.insist(store.claim, request)
            for lease in leases:
                report = completed(2.0 + lease.trial_number / 100)
                self.insist(store.progress, lease.lease_id, Progress())
                receipt = self.insist(store.result, lease.lease_id, report)
                self.receipts[lease.trial_number] = receipt.status
            if not leases:
                self.site.clock.advance(1)  # until a lease whose grant was cut off lapses


def test_connections_cut_at_any_moment_cost_no_result(mortal: PostgresServer) -> None:
    site = Site(mortal.create_with_schema())
    search_id = site.started(limits={"trials": 60}, max_attempts=20, lease_seconds=3600)
    workers = Stubborn(site, search_id)
    ended = threading.Event()

    def cut() -> None:
        while not ended.wait(0.05):
            mortal.cut_connections()

    with ThreadPoolExecutor(5) as pool:
        cutter = pool.submit(cut)
        jobs = [pool.submit(workers.work, f"w-{n}") for n in range(4)]
        try:
            for job in jobs:
                job.result()
        finally:
            ended.set()
        cutter.result()
    assert site.search(search_id).counts[TrialStatus.COMPLETED] == 61
    assert set(workers.receipts.values()) == {"completed"}
    assert len(workers.receipts) == 60
    check_everything(site.store, search_id)
    site.store.close()
