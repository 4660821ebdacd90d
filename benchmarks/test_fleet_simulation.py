"""The simulated fleet itself: its arithmetic, and that it would notice what is lost."""

from __future__ import annotations

import argparse

import pytest
from sqlalchemy import create_engine, update

from benchmarks.fleet_simulation import judge, simulate
from benchmarks.fleet_stage import Fleet, database, fill, lost_results
from benchmarks.fleet_workers import Seen
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.store import open_store
from brainformer.search.trials.lease_messages import ClaimRequest, Result
from brainformer.search.trials.trial import Measurements, Outcome

pytestmark = pytest.mark.timed


def seen(*, busy: float, waiting: float, claim_ms: float) -> dict:
    times = {"claim": [claim_ms] * 200, "result": [1.0] * 100}
    return {
        "latencies_ms": times,
        "outcomes": {},
        "receipts": {"completed": 2},
        "errors": {},
        "busy_seconds": busy,
        "waiting_seconds": waiting,
        "processor_seconds": 1.0,
    }


@pytest.mark.parametrize(
    ("busy", "claim_ms", "lost", "ok"),
    [(995, 150, 0, True), (980, 150, 0, False), (995, 250, 0, False), (995, 150, 1, False)],
)
def test_a_fleet_is_judged_by_time_used_claims_and_losses(busy, claim_ms, lost, ok):
    bar = Fleet(1000, 60, claim_bar_ms=200, used_bar=0.99)
    at_work = seen(busy=busy, waiting=1000 - busy, claim_ms=claim_ms)
    row = judge(bar, at_work, seen(busy=1, waiting=159, claim_ms=5), {}, {}, lost)
    assert row["ok"] is ok
    assert row["used"] == busy / 1000
    assert row["most_trials_per_second"] == 10.0


def test_only_the_time_that_is_measured_counts():
    window = Seen(began=10.0, ends=20.0)
    assert [window.within(*one) for one in ((0, 5), (5, 12), (12, 14), (18, 30), (25, 30))] == [
        *(0.0, 2.0, 2.0, 2.0, 0.0)
    ]


def test_a_receipt_without_its_result_is_noticed():
    with database("sqlite") as (url, _):
        store = open_store(url)
        fill(store, Fleet(1, 1, searches=2))
        assert {one.status.value for one in store.list_searches().items} == {"running"}
        (lease,) = store.claim(ClaimRequest(worker_id="w", pool="cpu", count=1))
        assert lease.kind.value == "candidate"
        measured = Measurements(validation_loss=2.3, step_time_ms=20.0)
        done = Result(outcome=Outcome.COMPLETED, measurements=measured)
        receipt = store.result(lease.lease_id, done)
        store.close()
        told = {"receipts": {receipt.status: 1}}
        assert lost_results(url, told) == 0
        assert lost_results(url, told, told) == 1
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(update(trials).values(status="failed"))
        with pytest.raises(AssertionError, match="counters"):
            lost_results(url, told)


@pytest.mark.slow
def test_a_small_fleet_works_and_loses_nothing():
    options = argparse.Namespace(database="sqlite", controllers=1, push_seconds=3)
    row = simulate(Fleet(10, 1.0, searches=3, seconds=12), options)
    assert row["errors"] == {}
    assert row["lost"] == 0
    assert row["outcomes"]["completed"] > 20
    assert 0.5 < row["used"] < 1
    assert row["most_trials_per_second"] > row["trials_per_second"]
