"""Pools: drained, resumed, and looked at."""

from __future__ import annotations

import pytest

from brainformer.search.errors import NotFound
from brainformer.search.sql.store import open_store
from brainformer.search.status import SearchStatus
from brainformer.search.trials.lease_messages import ClaimRequest, Result
from brainformer.search.trials.trial import Outcome
from tests.postgres import PostgresServer
from tests.search.store.site import ME, Site, completed


def test_a_drained_pool_starts_nothing_and_finishes_what_runs(site: Site) -> None:
    site.started()
    running = site.claim_one(pool="cpu")
    detail = site.store.pools.drain("cpu", actor=ME)
    assert (detail.running, detail.drained_at is not None) == (1, True)
    assert site.claim(pool="cpu") == []
    assert site.finish(running, 2.0).status == "completed"
    assert site.claim(pool="cpu") == []
    assert site.store.pools.get("cpu").running == 0


def test_other_pools_go_on_and_a_resumed_one_works_again(site: Site) -> None:
    site.started()
    site.finish(site.claim_one(pool="v6e-8", worker="w-2"), 2.5)
    site.store.pools.drain("cpu", actor=ME)
    assert site.claim_one(pool="v6e-8", worker="w-2").pool == "v6e-8"
    assert site.store.pools.resume("cpu", actor=ME).drained_at is None
    assert site.claim_one(pool="cpu").pool == "cpu"


def test_draining_twice_is_as_once_and_stands_in_the_audit_trail_once(site: Site) -> None:
    site.started()
    first = site.store.pools.drain("cpu", actor=ME)
    site.clock.advance(100)
    assert site.store.pools.drain("cpu", actor=ME).drained_at == first.drained_at
    site.store.pools.resume("cpu", actor=ME)
    site.store.pools.resume("cpu", actor=ME)
    told = [(one.actor, one.action, one.target) for one in site.store.audit().items]
    assert [one for one in told if one[1].startswith("pool.")] == [
        ("ann", "pool.resume", "cpu"),
        ("ann", "pool.drain", "cpu"),
    ]


def test_a_pool_stays_drained_over_a_restart_and_after_searches_are_deleted(site: Site) -> None:
    search_id = site.started()
    site.store.pools.drain("cpu", actor=ME)
    site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)
    site.store.delete_search(search_id, actor=ME)
    site.create(name="next")
    site.restart()
    assert site.claim(pool="cpu") == []
    assert site.store.pools.list_all()[0].drained_at is not None
    site.store.pools.resume("cpu", actor=ME)
    assert len(site.claim(pool="cpu")) == 1


@pytest.mark.parametrize("name", ["nobody", "CPU"])
def test_a_pool_that_nobody_has_seen_is_named(site: Site, name: str) -> None:
    site.started()
    for asked in (
        lambda: site.store.pools.get(name),
        lambda: site.store.pools.drain(name, actor=ME),
        lambda: site.store.pools.resume(name, actor=ME),
    ):
        with pytest.raises(NotFound, match=name):
            asked()
    assert site.claim_one(pool="cpu").pool == "cpu"


def test_a_drained_pool_whose_workers_went_elsewhere_can_be_resumed(site: Site) -> None:
    site.started()
    site.store.pools.drain("cpu", actor=ME)
    site.claim(pool="v6e-8")  # by the worker that was the pool's only one
    assert {one.pool: one.workers for one in site.store.pools.list_all()} == {"cpu": 0, "v6e-8": 1}
    assert site.store.pools.get("cpu").last_seen is None
    assert site.store.pools.resume("v6e-8", actor=ME).drained_at is None
    site.store.pools.resume("cpu", actor=ME)
    assert len(site.claim(pool="cpu")) == 1


def test_a_pool_tells_its_devices_speed_and_failures(site: Site) -> None:
    site.started(step_time_slack=None)
    for step_time_ms, utilisation in ((10.0, 0.8), (30.0, 0.9), (20.0, 1.0)):
        done = completed(2.0, step_time_ms=step_time_ms)
        more = {"utilisation": utilisation, "device": "NVIDIA H200"}
        measured = done.measurements.model_copy(update=more)
        lease = site.claim_one(pool="cpu")
        site.store.result(lease.lease_id, done.model_copy(update={"measurements": measured}))
    lost = site.claim_one(pool="cpu")
    site.store.result(lost.lease_id, Result(outcome=Outcome.PREEMPTED, message="SIGTERM"))
    site.finish(site.claim_one(pool="v6e-8", worker="w-2"), 2.5)
    detail = site.store.pools.get("cpu")
    assert detail.devices == ("NVIDIA H200",)
    assert detail.step_time_ms == 20.0
    assert detail.utilisation == pytest.approx(0.9)
    assert detail.outcomes == {"completed": 4, "preempted": 1}  # the baseline is one of them
    assert detail.attempts_last_hour == 5
    site.clock.advance(7200)
    assert site.store.pools.get("cpu").attempts_last_hour == 0


def test_a_pool_tells_what_blocks_each_open_search(site: Site) -> None:
    def blocked() -> dict[str, str]:
        return {one.name: one.blocked for one in site.store.pools.get("cpu").searches}

    site.create(name="first", baseline_repeats=2)
    first = site.claim_one(pool="cpu")
    assert blocked() == {"first": "the baseline is measured first: 0 of 2 runs"}
    site.finish(first, 3.0)
    site.finish(site.claim_one(pool="cpu"), 3.0)
    assert blocked() == {"first": ""}
    site.create(name="other", pools=["v6e-8"])
    site.create(name="second")
    assert blocked() == {"first": "", "second": "the baseline has not started here"}
    site.store.change_status(site.search("second").id, SearchStatus.PAUSED, actor=ME)
    site.store.pools.drain("cpu", actor=ME)
    assert blocked() == {"first": "the pool is drained", "second": "the search is paused"}


def test_a_drained_pool_tells_what_only_it_can_finish(site: Site) -> None:
    site.create(baseline_repeats=2)
    running = site.claim_one(pool="cpu")
    site.store.pools.drain("cpu", actor=ME)
    (served,) = site.store.pools.get("cpu").searches
    assert (served.running, served.waiting) == (1, 1)
    assert served.blocked == "the pool is drained; 1 trials wait for this pool alone"
    site.finish(running, 3.0)


def test_another_controller_of_the_same_database_sees_it(postgres: PostgresServer) -> None:
    site = Site(postgres.create_with_schema())
    site.started()
    second = open_store(site.url, clock=site.clock)
    try:
        second.pools.drain("cpu", actor=ME)
        assert site.claim(pool="cpu") == []
        site.store.pools.resume("cpu", actor=ME)
        assert len(second.claim(ClaimRequest(worker_id="w-2", pool="cpu", count=1))) == 1
    finally:
        second.close()
        site.store.close()
        postgres.drop(site.url)
