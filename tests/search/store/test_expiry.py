"""Leases that lapse, by the database's time and whatever happens to clock and controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainformer.search.errors import LeaseLost
from brainformer.search.sql.store import open_store
from brainformer.search.status import SearchStatus
from brainformer.search.trials.trial import Outcome, TrialStatus
from tests.search.store.site import (
    ME,
    START,
    Site,
    failed,
)

HOUR = 3600.0


def test_a_silent_attempt_lapses_and_the_next_one_follows(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    site.clock.advance(60)
    assert site.store.reap() == 0
    site.clock.advance(1)
    assert site.store.reap() == 1
    assert site.trial(lease).status is TrialStatus.QUEUED
    assert site.store.attempts(search_id, 1)[0].outcome is Outcome.EXPIRED
    assert site.claim_one().attempt == 2


def test_reaping_twice_finds_nothing_the_second_time(site: Site) -> None:
    search_id = site.started()
    site.claim(count=3)
    site.clock.advance(61)
    assert [site.store.reap(), site.store.reap()] == [3, 0]
    assert site.search(search_id).counts[TrialStatus.QUEUED] == 3


def test_a_claim_reaps_by_itself(site: Site) -> None:
    site.started()
    lease = site.claim_one()
    site.clock.advance(61)
    assert site.claim_one().trial_id == lease.trial_id


def test_a_trial_that_lapses_too_often_has_failed(site: Site) -> None:
    site.started(max_attempts=2)
    lease = site.claim_one()
    site.clock.advance(61)
    again = site.claim_one()
    site.clock.advance(61)
    assert site.store.reap() == 1
    trial = site.trial(lease)
    assert (again.attempt, trial.status, trial.outcome) == (2, TrialStatus.FAILED, Outcome.EXPIRED)
    assert "no heartbeat from w-1 for 60 s" in trial.message


def test_a_lapsed_trial_of_a_paused_search_waits_for_the_search(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    site.clock.advance(61)
    assert site.store.reap() == 1
    assert site.claim() == []
    site.store.change_status(search_id, SearchStatus.RUNNING, actor=ME)
    assert site.claim_one().trial_id == lease.trial_id


def test_a_baseline_that_lapses_too_often_fails_its_pool(site: Site) -> None:
    search_id = site.create(max_attempts=1)
    site.claim_one()
    site.clock.advance(61)
    assert site.store.reap() == 1
    assert site.status(search_id) is SearchStatus.FAILED


def test_a_controller_that_was_away_hears_the_workers_before_it_judges_them(
    site: Site,
) -> None:
    site.started()
    alive, dead = site.claim(count=2)
    site.store.close()
    site.clock.advance(10 * 60)
    site.store = site.open()
    assert site.store.reap() == 0
    site.clock.advance(20)
    assert site.beat(alive) == "continue"
    site.clock.advance(41)
    assert site.store.reap() == 1
    assert site.trial(dead).status is TrialStatus.QUEUED
    assert site.finish(alive).status == "completed"


def test_a_clock_set_back_an_hour_keeps_no_dead_trial_alive_for_an_hour(site: Site) -> None:
    site.started()
    dead, alive = site.claim(count=2)
    site.clock.advance(-HOUR)
    assert site.store.reap() == 0
    for _ in range(3):
        site.clock.advance(25)
        assert site.beat(alive) == "continue"
        site.store.reap()
    assert site.trial(dead).status is TrialStatus.QUEUED
    assert site.trial(alive).status is TrialStatus.RUNNING
    again = site.claim_one()
    assert (again.trial_id, again.attempt) == (dead.trial_id, 2)
    with pytest.raises(LeaseLost):
        site.finish(dead)
    assert site.finish(alive).status == site.finish(again).status == "completed"


def test_a_clock_set_back_while_the_controller_was_down_loses_nothing(site: Site) -> None:
    search_id = site.started()
    done = site.run(3)
    lease = site.claim_one()
    site.store.close()
    site.clock.advance(-HOUR)
    site.store = site.open()
    assert site.finish(lease, 1.5).status == "completed"
    site.run(2)
    numbers = [one.number for one in site.store.population(search_id)]
    assert numbers == [done[-1].trial_number, 4, 5, 6]
    seqs = [one.seq for one in site.store.events()]
    assert seqs == sorted(set(seqs))


def test_a_sqlite_controller_starts_no_earlier_than_what_its_file_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    site = Site(url)
    site.create()
    site.store.close()
    monkeypatch.setattr("time.time", lambda: START - HOUR)
    store = open_store(url)
    with store._database.read() as tx:
        assert START <= tx.now < START + 60
    store.close()


def test_preempted_attempts_and_lapsed_ones_share_one_bound(site: Site) -> None:
    site.started(max_attempts=2)
    lease = site.claim_one()
    site.store.result(lease.lease_id, failed(Outcome.PREEMPTED))
    site.claim_one()
    site.clock.advance(61)
    site.store.reap()
    assert site.trial(lease).status is TrialStatus.FAILED
