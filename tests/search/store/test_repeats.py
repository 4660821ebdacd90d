"""Repeats that are asked for: fresh seeds beside the search, refused where they make no sense."""

from __future__ import annotations

import pytest

from brainformer.search.errors import Conflict, NotFound
from brainformer.search.status import SearchStatus
from brainformer.search.store.records import TrialRecord
from brainformer.search.trials.lease_messages import ClaimRequest
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.search.store.site import ME, Site, failed


def repeat(site: Site, search: str, number: int) -> TrialRecord:
    return site.store.repeat_trial(search, number, actor=ME)


def test_a_repeat_trains_the_same_block_with_a_seed_of_its_own(site: Site) -> None:
    search = site.started()
    first, second = site.run(2)
    made = repeat(site, search, first.trial_number)
    original = site.store.get_trial(search, first.trial_number)
    assert (made.kind, made.status) == (TrialKind.REPEAT, TrialStatus.QUEUED)
    assert (made.genome, made.pool) == (original.genome, "cpu")
    assert made.parent_number == first.trial_number
    lease = site.claim_one()
    assert (lease.trial_number, lease.kind) == (made.number, TrialKind.REPEAT)
    again = repeat(site, search, first.trial_number)
    other = repeat(site, search, second.trial_number)
    seeds = {original.seed, made.seed, again.seed}
    assert len(seeds) == 3
    assert other.seed == made.seed  # the first of each: they compare in pairs
    receipt = site.finish(lease, 2.5)
    assert receipt.fitness == pytest.approx(0.5)


def test_a_repeat_that_the_machine_lost_gives_its_seed_to_the_next(site: Site) -> None:
    search = site.started(max_attempts=1)
    (lease,) = site.run(1)
    lost = repeat(site, search, lease.trial_number)
    site.store.result(site.claim_one().lease_id, failed(Outcome.PREEMPTED))
    assert repeat(site, search, lease.trial_number).seed == lost.seed


def test_repeats_change_neither_the_best_nor_the_race(site: Site) -> None:
    race = {"confirmations": 1, "confirmation_repeats": 2, "confirmation_limit": 2}
    search = site.started(limits={"trials": 3}, **race)
    good, bad = site.run(2, lambda number: 2.0 + number / 10)
    repeat(site, search, bad.trial_number)
    site.finish(site.claim_one(), 0.1)  # far better than anything: luck that somebody went for
    assert site.store.best(search).trial.number == good.trial_number
    assert site.store.best(search).repeats == 0
    asked = repeat(site, search, good.trial_number)
    site.finish(site.claim_one(), 0.1)
    seeds = []
    while leases := site.claim():
        if leases[0].kind is TrialKind.CONFIRMATION:
            seeds.append(leases[0].seed)
        site.finish(leases[0], 2.5)
    assert len(seeds) == 4  # two of the finalist, two of the rival
    assert asked.seed not in seeds
    assert site.status(search) is SearchStatus.COMPLETED
    best = site.store.best(search)
    assert (best.trial.number, best.repeats) == (good.trial_number, 2)
    assert best.mean_fitness == pytest.approx(0.0)  # the rival beside it: 2.5, not 3.0 as before


def test_a_repeat_is_no_candidate(site: Site) -> None:
    search = site.started(limits={"trials": 2})
    (lease,) = site.run(1)
    repeat(site, search, lease.trial_number)
    site.finish(site.claim_one())
    assert site.search(search).candidates_finished == 1
    assert [one.number for one in site.store.population(search)] == [lease.trial_number]
    assert [one.number for one in site.store.pareto(search)] == [lease.trial_number]
    site.run(1)
    assert site.status(search) is SearchStatus.COMPLETED


def test_a_search_waits_for_its_repeats(site: Site) -> None:
    search = site.started(limits={"trials": 2})
    (first,) = site.run(1)
    repeat(site, search, first.trial_number)
    lease = site.claim_one()
    site.run(1)
    assert site.status(search) is SearchStatus.RUNNING
    site.finish(lease)
    assert site.status(search) is SearchStatus.COMPLETED


def test_a_failed_candidate_may_be_tried_again(site: Site) -> None:
    search = site.started()
    lease = site.claim_one()
    site.store.result(lease.lease_id, failed(Outcome.DIVERGED))
    repeat(site, search, lease.trial_number)
    assert site.finish(site.claim_one(), 2.0).status == "completed"


def refused(site: Site, search: str, number: int) -> str:
    before = site.search(search)
    with pytest.raises(Conflict) as caught:
        repeat(site, search, number)
    assert site.search(search) == before
    return caught.value.message


def test_what_makes_no_sense_is_refused_with_what_to_do(site: Site) -> None:
    search = site.started()
    assert "only candidates are repeated" in refused(site, search, 0)
    lease = site.claim_one()
    assert "is running; repeat it when it has ended" in refused(site, search, lease.trial_number)
    site.finish(lease)
    made = repeat(site, search, lease.trial_number)
    told = f"is a repeat of trial {lease.trial_number} itself"
    assert told in refused(site, search, made.number)
    with pytest.raises(NotFound):
        repeat(site, search, 99)
    for _ in range(7):
        repeat(site, search, lease.trial_number)
    assert "8 repeats" in refused(site, search, lease.trial_number)


@pytest.mark.parametrize("ended", [SearchStatus.STOPPING, SearchStatus.CANCELLED])
def test_a_search_that_takes_no_more_trials_repeats_none(site: Site, ended: SearchStatus) -> None:
    search = site.started()
    (lease,) = site.run(1)
    site.claim_one()  # so that stopping takes its time
    site.store.change_status(search, ended, actor=ME)
    told = refused(site, search, lease.trial_number)
    assert f"is {ended.value} and takes no more trials" in told


def test_a_paused_search_keeps_the_repeat_until_it_goes_on(site: Site) -> None:
    search = site.started()
    (lease,) = site.run(1)
    site.store.change_status(search, SearchStatus.PAUSED, actor=ME)
    made = repeat(site, search, lease.trial_number)
    assert site.claim() == []
    site.store.change_status(search, SearchStatus.RUNNING, actor=ME)
    assert site.claim_one().trial_number == made.number


def test_a_pool_that_nobody_works_on_is_refused(site: Site) -> None:
    search = site.started()
    (lease,) = site.run(1)
    site.clock.advance(2 * 3600)
    assert "no worker of pool cpu" in refused(site, search, lease.trial_number)
    site.store.claim(ClaimRequest(worker_id="w-1", pool="cpu", count=1))
    site.store.pools.drain("cpu", actor=ME)
    assert "pool cpu is drained" in refused(site, search, lease.trial_number)
    site.store.pools.retire("cpu", actor=ME)
    assert "pool cpu was retired" in refused(site, search, lease.trial_number)


def test_runs_of_a_study_are_not_repeated(site: Site) -> None:
    from tests.search.store.test_promotions import promote, searched

    study = promote(site, searched(site))
    assert "is a promotion trial" in refused(site, study.id, 0)
