"""Retired pools: what moves, what is given up, what ends, and how a pool comes back."""

from __future__ import annotations

import pytest

from brainformer.search.errors import Conflict, InvalidSpec, LeaseLost, NotFound, PoolRetired
from brainformer.search.sql.store import SqlStore, open_store
from brainformer.search.status import SearchStatus
from brainformer.search.store.records import LeftSearch
from brainformer.search.studies.certificate import CertificateRequest
from brainformer.search.studies.promotion import PromotionRequest
from brainformer.search.trials.lease_messages import Lease
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.postgres import PostgresServer
from tests.search.store.audit import check_everything
from tests.search.store.site import ME, Site, completed

RACED = {"confirmations": 2, "confirmation_repeats": 2}


def retire(site: Site, pool: str = "h200") -> list[LeftSearch]:
    return list(site.store.pools.retire(pool, actor=ME).searches)


def two_pools(site: Site, **changes: object) -> str:
    """Creates a search whose baseline is complete on pools h200 and cpu."""
    search_id = site.create(**changes)
    for pool in ("h200", "cpu"):
        site.finish(site.claim_one(pool=pool, worker=f"w-{pool}"), 3.0)
    return search_id


def claim(site: Site, pool: str) -> Lease:
    return site.claim_one(pool=pool, worker=f"w-{pool}")


def run_out(site: Site, pool: str) -> list[Lease]:
    """Runs everything that the pool is given; returns the leases."""
    leases: list[Lease] = []
    while found := site.claim(pool=pool, worker=f"w-{pool}"):
        site.finish(found[0], 2.0 + 0.01 * len(leases))
        leases += found
    return leases


def to_the_race(site: Site) -> str:
    """Creates a search of one candidate a pool, that on h200 the better, both to be confirmed."""
    search_id = two_pools(site, limits={"trials": 2}, **RACED)
    site.finish(claim(site, "h200"), 2.0)
    site.finish(claim(site, "cpu"), 2.5)
    return search_id


def test_confirmations_begin_again_on_a_pool_with_a_rival_of_its_own(site: Site) -> None:
    search_id = to_the_race(site)
    while site.trial(first := claim(site, "h200")).parent_number is None:
        site.finish(first, 3.0)  # the rival's
    site.finish(first, 2.0)
    (left,) = retire(site)
    assert (left.moved, left.to, left.status) == (1, "cpu", SearchStatus.RUNNING)
    again = run_out(site, "cpu")
    best = site.store.best(search_id)
    moved = next(one for one in best.finalists if one.number == best.trial.number)
    assert (moved.pool, best.baseline.pool if best.baseline else None) == ("cpu", "cpu")
    runs = [site.trial(one) for one in again if site.trial(one).parent_number == moved.number]
    # All of them are of the new pool, from the first repeat on, each with the seed of its repeat.
    assert [one.repeat for one in runs] == list(range(len(runs)))
    assert moved.runs == len(runs) >= 2
    rivals = [
        one for one in site.trials(search_id, pool="cpu") if one.origin in {"repeat", "rival"}
    ]
    seeds = {one.repeat: one.seed for one in rivals}
    assert all(one.seed == seeds[one.repeat] for one in runs if one.repeat in seeds)
    assert site.status(search_id) is SearchStatus.COMPLETED
    check_everything(site.store, search_id)


def test_the_rival_runs_beside_a_finalist_that_moved_though_others_are_complete(
    site: Site,
) -> None:
    search_id = site.create(limits={"trials": 2}, **RACED)
    for pool in ("h200", "cpu", "spot"):
        site.finish(claim(site, pool), 3.0)
    site.finish(claim(site, "h200"), 2.0)
    site.finish(claim(site, "cpu"), 2.5)
    run_out(site, "cpu")  # its finalist and its rival are through
    site.clock.advance(1)
    assert site.claim(pool="spot", worker="w-spot") == []  # heard of last
    (left,) = retire(site)
    assert (left.moved, left.to) == (2, "spot")  # both of its repeats
    parents = [site.trial(one).parent_number for one in run_out(site, "spot")]
    assert [parent is None for parent in parents[:4]] == [True, False] * 2  # in turns
    check_everything(site.store, search_id)


def test_a_finalist_with_its_first_repeats_keeps_them_and_gets_no_more(site: Site) -> None:
    search_id = to_the_race(site)
    number = next(
        one.number for one in site.trials(search_id) if one.pool == "h200" and one.fitness
    )
    while found := site.claim(pool="h200", worker="w-h200"):
        site.finish(found[0], 2.0)
    repeats = site.trials(search_id, kinds=(TrialKind.CONFIRMATION,), pool="h200")
    assert sum(one.parent_number == number for one in repeats) == 2
    (left,) = retire(site)
    assert (left.moved, left.to) == (0, None)
    run_out(site, "cpu")
    best = site.store.best(search_id)
    kept = next(one for one in best.finalists if one.pool == "h200")
    assert kept.runs == 2
    assert site.status(search_id) is SearchStatus.COMPLETED
    check_everything(site.store, search_id)


def test_without_another_rival_confirmations_are_given_up_and_the_search_completes(
    site: Site,
) -> None:
    search_id = site.create(limits={"trials": 1}, **RACED)
    site.finish(claim(site, "h200"), 3.0)
    site.finish(claim(site, "h200"), 2.0)
    running = claim(site, "h200")
    (left,) = retire(site)
    assert (left.moved, left.put_back) == (0, 0)
    assert left.given_up == 4  # two of the finalist, two of the rival
    assert (left.status, left.reason) == (SearchStatus.COMPLETED, "limit reached")
    best = site.store.best(search_id)
    assert (best.confirmed, best.trial.fitness) == (False, pytest.approx(1.0))
    with pytest.raises(LeaseLost):
        site.finish(running, 2.0)
    check_everything(site.store, search_id)


def test_running_candidates_go_back_to_the_queue_and_the_attempt_is_not_counted(site: Site) -> None:
    search_id = two_pools(site, max_attempts=1)
    running = claim(site, "h200")
    (left,) = retire(site)
    assert (left.put_back, left.given_up) == (1, 0)
    assert site.trial(running).status is TrialStatus.QUEUED
    with pytest.raises(LeaseLost):
        site.finish(running, 1.0)
    again = claim(site, "cpu")
    assert (again.trial_id, again.attempt) == (running.trial_id, 2)
    assert site.finish(again, 2.0).status == "completed"
    assert site.trials(search_id, pool="h200", statuses=(TrialStatus.RUNNING,)) == []
    check_everything(site.store, search_id)


def test_a_search_that_only_it_could_serve_ends_with_the_reason(site: Site) -> None:
    began = site.create(name="began", pools=["h200"])
    site.finish(claim(site, "h200"), 3.0)
    site.finish(claim(site, "h200"), 2.0)
    claim(site, "h200")
    waits = site.create(name="waits", pools=["h200"])
    site.store.change_status(waits, SearchStatus.PAUSED, actor=ME)
    other = site.create(name="other", pools=["h200", "cpu"])
    ended = {one.name: (one.status, one.reason) for one in retire(site)}
    why = "pool h200 was retired, and no other pool may run this search"
    assert ended == {"began": (SearchStatus.STOPPED, why), "waits": (SearchStatus.FAILED, why)}
    assert site.search(began).best_fitness == pytest.approx(1.0)
    assert site.search(began).counts[TrialStatus.RUNNING] == 0
    assert site.status(other) is SearchStatus.RUNNING
    check_everything(site.store, began)


def test_a_search_of_two_named_pools_ends_with_the_second(site: Site) -> None:
    search_id = two_pools(site, pools=["h200", "cpu"])
    retire(site, "cpu")
    assert site.status(search_id) is SearchStatus.RUNNING
    retire(site, "h200")
    assert site.status(search_id) is SearchStatus.FAILED


def test_a_candidate_that_nobody_is_left_to_run_does_not_hold_the_search(site: Site) -> None:
    search_id = site.create(limits={"trials": 2})
    site.finish(claim(site, "h200"), 3.0)
    site.finish(claim(site, "h200"), 2.0)
    claim(site, "h200")
    (left,) = retire(site)
    assert left.status is SearchStatus.COMPLETED
    assert site.search(search_id).counts[TrialStatus.CANCELLED] == 1
    check_everything(site.store, search_id)


def test_a_search_whose_hours_run_out_without_a_pool_ends(site: Site) -> None:
    search_id = site.create(limits={"hours": 1})
    site.finish(claim(site, "h200"), 3.0)
    site.finish(claim(site, "h200"), 2.0)
    claim(site, "h200")
    (left,) = retire(site)
    assert (left.status, left.put_back) == (SearchStatus.RUNNING, 1)
    site.clock.advance(3601)
    site.store.reap()
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_a_stopping_search_does_not_wait_for_what_runs_there(site: Site) -> None:
    search_id = two_pools(site)
    claim(site, "h200")
    site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    (left,) = retire(site)
    assert (left.status, left.given_up) == (SearchStatus.STOPPED, 1)


def test_a_repeat_that_somebody_asked_for_is_given_up(site: Site) -> None:
    search_id = two_pools(site)
    done = claim(site, "h200")
    site.finish(done, 2.0)
    site.store.repeat_trial(search_id, done.trial_number, actor=ME)
    (left,) = retire(site)
    assert (left.moved, left.given_up, left.status) == (0, 1, SearchStatus.RUNNING)
    check_everything(site.store, search_id)


def test_a_mutated_candidate_of_a_stopping_search_is_given_up(site: Site) -> None:
    search_id = two_pools(site, population_size=2)
    while site.trial(running := claim(site, "h200")).parent_number is None:
        site.finish(running, 2.0)
    site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    (left,) = retire(site)
    assert (left.moved, left.given_up, left.status) == (0, 1, SearchStatus.STOPPED)


def test_a_certificate_ends_and_says_where_it_can_be_started_again(site: Site) -> None:
    search_id = two_pools(site)
    for _ in range(10):
        site.finish(claim(site, "h200"), 2.0)
    request = CertificateRequest(budgets=(1.0, 2.0), blocks=8)
    study = site.store.studies.create_certificate(search_id, request, pool="h200", actor=ME)
    while (lease := claim(site, "h200")).kind is not TrialKind.CERTIFICATE:
        site.finish(lease, 2.0)
    site.finish(lease, 2.0)
    ended = {one.name: one for one in retire(site)}[study.name]
    assert ended.status is SearchStatus.STOPPED
    assert ended.given_up == study.counts[TrialStatus.QUEUED] - 1
    assert ended.reason.endswith("so start the certificate again on cpu")
    with pytest.raises(Conflict, match=r"pool h200 was retired; .* has a baseline on cpu too"):
        site.store.studies.create_certificate(search_id, request, pool="h200", actor=ME)


def test_a_promotion_of_which_nothing_has_run_fails(site: Site) -> None:
    search_id = site.create()
    site.finish(claim(site, "h200"), 3.0)
    site.finish(claim(site, "h200"), 2.0)
    request = PromotionRequest(top=1, scales=(1.0,), budget_seconds=(600,))
    study = site.store.studies.create_promotion(search_id, request, pool=None, actor=ME)
    ended = {one.name: one for one in retire(site)}[study.name]
    assert ended.status is SearchStatus.FAILED
    assert ended.reason.endswith("start the promotion again once another pool has a baseline")
    with pytest.raises(
        Conflict, match=r"every pool with a baseline of search .* was retired: h200"
    ):
        site.store.studies.create_promotion(search_id, request, pool=None, actor=ME)


def test_its_workers_and_new_searches_are_told(site: Site) -> None:
    two_pools(site)
    retire(site)
    with pytest.raises(PoolRetired, match=r"pool h200 was retired .*--return"):
        claim(site, "h200")
    with pytest.raises(InvalidSpec, match="every pool that the search may run on was retired"):
        site.create(name="late", pools=["h200"])
    site.create(name="open", pools=["h200", "cpu"])
    with pytest.raises(Conflict, match="was retired, not drained"):
        site.store.pools.resume("h200", actor=ME)


def test_a_pool_that_an_open_search_waits_for_can_be_retired_unseen(site: Site) -> None:
    search_id = site.create(pools=["v6e-8"])
    assert [one.search_id for one in retire(site, "v6e-8")] == [search_id]
    assert site.store.pools.get("v6e-8").retired_at is not None
    for change in (site.store.pools.retire, site.store.pools.bring_back):
        with pytest.raises(NotFound, match="v6e-9"):
            change("v6e-9", actor=ME)


def test_a_pool_that_comes_back_finishes_its_baseline_and_works(site: Site) -> None:
    search_id = site.create(baseline_repeats=4)
    claim(site, "h200")
    for _ in range(2):  # retired and back, twice, with a run between
        site.finish(claim(site, "h200"), 3.0)
        retire(site)
        assert site.store.pools.bring_back("h200", actor=ME).retired_at is None
    while (lease := claim(site, "h200")).kind is TrialKind.BASELINE:
        site.finish(lease, 3.0)
    (baseline,) = site.store.baselines(search_id)
    assert (baseline.repeats, baseline.failure) == (4, "")
    done = site.trials(search_id, statuses=(TrialStatus.COMPLETED,))
    assert sorted(one.repeat for one in done if one.repeat is not None) == [0, 1, 2, 3]
    check_everything(site.store, search_id)


def test_confirmations_given_up_are_wanted_again_when_the_pool_comes_back(site: Site) -> None:
    search_id = site.create(limits={"trials": 1}, pools=["h200", "cpu"], **RACED)
    site.finish(claim(site, "h200"), 3.0)
    site.finish(claim(site, "h200"), 2.0)
    waiting = site.claim(pool="cpu", worker="w-cpu")  # too late for a baseline
    assert waiting == []
    site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    (left,) = retire(site)
    assert (left.status, left.given_up) == (SearchStatus.PAUSED, 4)
    site.store.pools.bring_back("h200", actor=ME)
    site.store.change_status(search_id, SearchStatus.RUNNING, actor=ME)
    run_out(site, "h200")
    assert site.store.best(search_id).repeats >= 2
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_confirmations_cut_off_by_a_retirement_use_up_none_of_the_race(site: Site) -> None:
    raced = {"confirmations": 1, "confirmation_repeats": 1}  # four runs at most
    search_id = site.create(limits={"trials": 1}, **raced)
    site.finish(claim(site, "h200"), 3.0)
    site.finish(claim(site, "h200"), 2.0)
    site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    for _ in range(6):
        retire(site)
        site.store.pools.bring_back("h200", actor=ME)
        site.store.change_status(search_id, SearchStatus.RUNNING, actor=ME)
        site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    site.store.change_status(search_id, SearchStatus.RUNNING, actor=ME)
    run_out(site, "h200")
    assert site.store.best(search_id).confirmed
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_twice_is_as_once_and_stands_in_the_audit_trail_once(site: Site) -> None:
    two_pools(site)
    assert len(retire(site)) == 1
    site.clock.advance(100)
    first = site.store.pools.get("h200").retired_at
    assert retire(site) == []
    assert site.store.pools.get("h200").retired_at == first
    site.store.pools.bring_back("h200", actor=ME)
    site.store.pools.bring_back("h200", actor=ME)
    told = [one.action for one in site.store.audit().items if one.action.startswith("pool.")]
    assert told == ["pool.return", "pool.retire"]


def test_it_stays_retired_over_a_restart(site: Site) -> None:
    two_pools(site)
    retire(site)
    site.restart()
    with pytest.raises(PoolRetired):
        claim(site, "h200")


def test_a_report_that_comes_too_late_is_kept_for_audit(site: Site) -> None:
    search_id = two_pools(site)
    running = claim(site, "h200")
    retire(site)
    with pytest.raises(LeaseLost):
        site.store.result(running.lease_id, completed(1.0))
    attempts = site.store.attempts(search_id, running.trial_number)
    assert [(one.outcome, one.accepted) for one in attempts] == [
        (Outcome.CANCELLED, False),
        (Outcome.COMPLETED, False),
    ]


def test_a_claim_that_began_before_the_retirement_opens_no_baseline(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.create()
    site.claim(pool="h200", worker="w-h200")
    retire(site)
    late = site.create(name="late")
    monkeypatch.setattr(site.store.pools, "refuses", lambda tx, pool: False)  # as it was then
    with pytest.raises(PoolRetired):
        site.claim(pool="h200", worker="w-h200")
    assert site.store.baselines(late) == []


def test_what_met_the_pool_meanwhile_is_swept_up(postgres: PostgresServer) -> None:
    """Another controller grants a lease while the retirement is on its way."""
    site = Site(postgres.create_with_schema())
    search_id = two_pools(site)
    site.store.pools.retire("h200", actor=ME)
    site.store.pools.bring_back("h200", actor=ME)
    running = claim(site, "h200")
    second: SqlStore = open_store(site.url, clock=site.clock)
    try:
        with second._database.write() as tx:  # the event alone, as its own transaction sees it
            from brainformer.search.sql.pools import note_retired

            note_retired(tx, "h200", second.pools.now(tx), ME)
        second.reap()
        assert site.trial(running).status is TrialStatus.QUEUED
        assert {one.pool for one in site.store.baselines(search_id) if one.failure} == {"h200"}
    finally:
        second.close()
        site.store.close()
        postgres.drop(site.url)
