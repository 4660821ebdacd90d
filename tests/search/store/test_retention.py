"""What is only looked back at is forgotten in time, a batch at once, and nothing else."""

from __future__ import annotations

import pytest

from brainformer.search.sql import retention
from brainformer.search.status import SearchStatus
from brainformer.search.store.retention import Retention
from tests.search.store.audit import all_trials, check_everything
from tests.search.store.site import ME, Site

DAY = 86_400.0


def forget(site: Site, **days: float) -> int:
    """Forgets until nothing is left to forget."""
    gone = 0
    while found := site.store.care.forget_old(Retention(**days)):
        gone += found
    return gone


def records(site: Site, search_id: str) -> list[tuple[int, str, float | None]]:
    found = all_trials(site.store, search_id)
    return [(one.number, one.digest, one.fitness) for one in found]


def test_old_events_go_and_trials_stay(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)  # so that several are needed
    search_id = site.started()
    site.run(4)
    before = records(site, search_id)
    last = site.store.last_event()
    site.clock.advance(10 * DAY)
    site.run(1)
    kept = [one.seq for one in site.store.events(after=last)]
    assert forget(site, event_days=5) > 6
    assert [one.seq for one in site.store.events()] == kept
    assert records(site, search_id)[: len(before)] == before
    site.run(2)
    check_everything(site.store, search_id)


def test_nothing_is_forgotten_for_ever(site: Site) -> None:
    site.started()
    site.store.create_token("t", ["read"], expires_in_seconds=None, actor=ME)
    site.clock.advance(10_000 * DAY)
    assert forget(site) == 0


def test_a_drained_pool_stays_drained_and_known(site: Site) -> None:
    site.started()
    site.store.pools.drain("cpu", actor=ME)
    site.clock.advance(100 * DAY)
    site.create(name="later")
    forget(site, event_days=1, worker_days=1, audit_days=1)
    site.restart()
    assert site.claim() == []
    site.store.pools.resume("cpu", actor=ME)
    assert len(site.claim()) == 1


def test_workers_and_audit_lines_go_each_by_its_own_time(site: Site) -> None:
    site.started()
    site.claim(worker="w-old")
    site.claim(worker="w-other", pool="gpu")
    site.store.create_token("old", ["read"], expires_in_seconds=None, actor=ME)
    site.clock.advance(50 * DAY)
    site.claim(worker="w-new")
    site.store.create_token("new", ["read"], expires_in_seconds=None, actor=ME)
    audited = len(site.store.audit().items)
    assert forget(site, worker_days=30) == 2  # w-1 and w-old; w-other is the last of its pool
    assert {one.worker_id for one in site.store.workers()} == {"w-new", "w-other"}
    assert len(site.store.audit().items) == audited
    assert forget(site, audit_days=30) == audited - 1
    assert [one.action for one in site.store.audit().items] == ["token.create"]


def test_the_newest_event_stays_so_that_numbers_and_the_clock_go_on(site: Site) -> None:
    search_id = site.started()
    site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)
    last = site.store.last_event()
    site.clock.advance(1000 * DAY)
    forget(site, event_days=1)
    assert [one.seq for one in site.store.events()] == [last]
    site.create(name="next")
    assert site.store.last_event() > last
