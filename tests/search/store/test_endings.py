"""How a search ends: limits, confirmations, the best with its confidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from brainformer.search.errors import NotFound
from brainformer.search.estimates.verdict import Verdict
from brainformer.search.spec import Limits
from brainformer.search.status import SearchStatus
from brainformer.search.trials.lease_messages import Lease
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.search.store.site import ME, Site, failed

HOUR = 3600.0


def drain(site: Site, loss: float | Callable[[int | None], float] = 2.0) -> list[Lease]:
    """Runs whatever is granted, one after another, until nothing is.

    A loss may depend on the number of the trial that is run again; None for the baseline.
    """
    leases = []
    while granted := site.claim():
        parent = site.trial(granted[0]).parent_number
        site.finish(granted[0], loss(parent) if callable(loss) else loss)
        leases += granted
    return leases


def test_a_search_completes_after_its_number_of_candidates(site: Site) -> None:
    search_id = site.started(limits={"trials": 3})
    assert len(drain(site)) == 3
    ended = site.search(search_id)
    assert (ended.status, ended.reason) == (SearchStatus.COMPLETED, "limit reached")
    assert ended.finished_at is not None


def test_baselines_and_confirmations_do_not_count_towards_the_limit(site: Site) -> None:
    search_id = site.create(
        limits={"trials": 3},
        baseline_repeats=2,
        confirmations=2,
        confirmation_repeats=2,
        confirmation_limit=4,
    )
    kinds = [lease.kind for lease in drain(site)]
    assert kinds == [TrialKind.BASELINE] * 2 + [TrialKind.CANDIDATE] * 3 + (
        [TrialKind.CONFIRMATION] * 6  # four of the finalists, two of the rival beside them
    )
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_a_search_past_its_hours_grants_no_new_candidate(site: Site) -> None:
    search_id = site.started(limits={"hours": 2})
    lease = site.claim_one()
    for _ in range(5):
        site.clock.advance(0.4 * HOUR)
        site.beat(lease)
    assert site.claim() == []
    assert site.status(search_id) is SearchStatus.RUNNING
    site.finish(lease)
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_a_search_past_its_hours_ends_though_no_worker_asks(site: Site) -> None:
    search_id = site.started(limits={"hours": 2})
    site.run(1)
    site.clock.advance(2 * HOUR)
    site.store.reap()
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_a_search_past_its_hours_does_not_wait_for_baselines_that_nobody_needs(
    site: Site,
) -> None:
    search_id = site.started(limits={"hours": 2}, baseline_repeats=3)
    lease = site.claim_one(pool="spot")
    assert lease.kind is TrialKind.BASELINE
    site.clock.advance(2 * HOUR)
    site.store.reap()
    site.clock.advance(61)
    for _ in range(3):
        site.store.reap()
        site.claim()
    ended = site.search(search_id)
    queued, running = ended.counts[TrialStatus.QUEUED], ended.counts[TrialStatus.RUNNING]
    assert (ended.status, queued, running) == (SearchStatus.COMPLETED, 0, 0)


def test_a_limit_reached_during_a_pause_ends_the_search_when_it_resumes(site: Site) -> None:
    race = {"baseline_repeats": 2, "confirmation_repeats": 2, "confirmation_limit": 2}
    search_id = site.started(limits={"trials": 1}, confirmations=1, **race)
    lease = site.claim_one()
    site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    site.finish(lease)
    assert site.status(search_id) is SearchStatus.PAUSED
    site.store.change_status(search_id, SearchStatus.RUNNING, actor=ME)
    assert [one.kind for one in drain(site)] == [TrialKind.CONFIRMATION] * 4
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_a_lowered_limit_ends_a_search_that_is_past_it(site: Site) -> None:
    search_id = site.started()
    site.run(3)
    lowered = site.store.change_limits(search_id, Limits(trials=2), actor=ME)
    assert lowered.status is SearchStatus.COMPLETED


def test_a_raised_limit_lets_the_search_go_on_and_confirm_what_it_finds(site: Site) -> None:
    search_id = site.started(
        limits={"trials": 2}, confirmations=1, confirmation_repeats=1, confirmation_limit=2
    )
    site.run(2)
    site.store.change_limits(search_id, Limits(trials=4), actor=ME)
    kinds = [lease.kind for lease in drain(site, loss=1.0)]
    assert kinds.count(TrialKind.CANDIDATE) == 2
    parents = [one.parent_number for one in site.trials(search_id, kinds=[TrialKind.CONFIRMATION])]
    assert sorted(parents, key=str) == [1, 5, None]  # two finalists, and the rival
    assert site.status(search_id) is SearchStatus.COMPLETED


def test_a_search_and_its_best_tell_one_figure_while_the_race_goes_on(site: Site) -> None:
    """Whoever looks during the fresh runs sees them; a lucky single run does not take over."""
    search_id = site.started(
        limits={"trials": 2}, baseline_repeats=2, confirmations=1, confirmation_repeats=2
    )
    losses = iter([1.5, 1.6, 1.9, 1.8, 0.5, 0.6, 1.7, 1.75, 0.7, 0.8, *[1.0] * 40])
    seen, raised = set(), False
    while granted := site.claim():
        for lease in granted:
            site.finish(lease, next(losses))
        record, best = site.search(search_id), site.store.best(search_id)
        shown = best.mean_fitness if best.repeats else best.trial.fitness
        assert (record.best_trial_number, record.best_repeats) == (best.trial.number, best.repeats)
        assert record.best_fitness == pytest.approx(shown)
        seen.add((record.best_repeats, record.status))
        if best.repeats == 1 and not raised:
            raised = True
            site.store.change_limits(search_id, Limits(trials=4), actor=ME)
    assert raised
    assert len([repeats for repeats, status in seen if repeats and not status.ended]) >= 2


def test_failed_candidates_count_towards_the_limit(site: Site) -> None:
    search_id = site.started(limits={"trials": 2})
    for _ in range(2):
        site.store.result(site.claim_one().lease_id, failed(Outcome.DIVERGED))
    assert site.status(search_id) is SearchStatus.COMPLETED
    with pytest.raises(NotFound):
        site.store.best(search_id)


def test_the_best_are_confirmed_on_their_own_pool_with_fresh_seeds(site: Site) -> None:
    race = {"baseline_repeats": 2, "confirmation_repeats": 2, "confirmation_limit": 4}
    search_id = site.started(limits={"trials": 4}, confirmations=2, **race)
    leases = site.run(4, loss=lambda number: 2.0 + number / 10)
    assert site.claim(pool="h200") == []
    confirming = site.claim(count=8)
    by_number = {lease.trial_number: lease for lease in leases}
    parents = [site.trial(lease).parent_number for lease in confirming]
    assert parents == [None, 2, 3] * 2  # the rival runs beside them
    for lease, parent in zip(confirming, parents, strict=True):
        assert parent is None or lease.genome == by_number[parent].genome
    repeats = [site.trial(lease).repeat for lease in confirming]
    assert repeats == [0, 0, 0, 1, 1, 1]
    seeds = [lease.seed for lease in confirming]
    assert (
        seeds[::3] == seeds[1::3] == seeds[2::3]
    )  # paired: the n-th repeat of every block has one seed
    assert len({*seeds, *(lease.seed for lease in leases)}) == 6
    assert site.status(search_id) is SearchStatus.RUNNING


def test_a_lucky_winner_loses_to_one_that_confirms(site: Site) -> None:
    search_id = site.create(
        limits={"trials": 2}, baseline_repeats=2, confirmations=2, confirmation_repeats=2
    )
    for loss in (3.01, 2.99):
        site.finish(site.claim_one(), loss)
    site.run(2, loss=lambda number: 1.0 if number == 2 else 2.0)
    before = site.store.best(search_id)
    assert (before.trial.number, before.confirmed, before.repeats) == (2, False, 0)
    assert (before.mean_fitness, before.verdict) == (None, Verdict.NOT_CONFIRMED)
    drained = drain(site, loss=lambda parent: 2.6 if parent == 2 else 2.0 if parent else 3.0)
    assert {lease.kind for lease in drained} == {TrialKind.CONFIRMATION}
    best = site.store.best(search_id)
    assert (best.trial.number, best.confirmed) == (3, True)
    assert best.mean_fitness == pytest.approx(1.0)
    assert best.confidence is not None
    assert best.confidence > 0.99
    assert best.verdict is Verdict.BETTER
    assert [one.number for one in best.finalists] == [3, 2]
    assert best.finalists[1].dropped
    ended = site.search(search_id)
    assert (ended.best_trial_number, ended.best_fitness) == (3, pytest.approx(1.0))


def test_without_repeats_there_is_no_confidence(site: Site) -> None:
    search_id = site.started(limits={"trials": 1})
    site.run(1)
    assert site.store.best(search_id).confidence is None


def test_a_confirmation_that_fails_does_not_keep_the_search_open(site: Site) -> None:
    search_id = site.started(limits={"trials": 1}, confirmations=1, confirmation_repeats=2)
    site.run(1)
    while leases := site.claim(count=2):
        for lease in leases:
            site.store.result(lease.lease_id, failed(Outcome.PRUNED))
    assert site.status(search_id) is SearchStatus.COMPLETED
    assert not site.store.best(search_id).confirmed


def test_a_confirmation_that_diverges_counts_against_its_block(site: Site) -> None:
    search_id = site.create(
        limits={"trials": 1},
        baseline_repeats=3,
        confirmations=1,
        confirmation_repeats=3,
        confirmation_limit=3,
    )
    for loss in (3.01, 2.99, 3.0):
        site.finish(site.claim_one(), loss)
    site.run(1, loss=lambda number: 1.0)
    while leases := site.claim(count=1):
        trial = site.trial(leases[0])
        if trial.parent_number is not None and trial.repeat == 1:
            site.store.result(leases[0].lease_id, failed(Outcome.DIVERGED))
        else:
            site.finish(leases[0], 3.0 if trial.parent_number is None else 1.0)
    best = site.store.best(search_id)
    assert best.diverged == 1
    assert best.repeats > 1
    assert best.verdict is not Verdict.BETTER


def test_a_repeat_lost_to_the_machine_is_run_again_with_its_own_seed(site: Site) -> None:
    race = {"confirmations": 1, "confirmation_repeats": 3, "confirmation_limit": 6}
    search_id = site.started(limits={"trials": 1}, **race)
    site.run(1, loss=lambda number: 1.0)
    lost, counted = [], []
    while leases := site.claim(count=1):
        trial = site.trial(leases[0])
        if trial.parent_number is not None and trial.repeat == 1 and not lost:
            lost.append(trial.seed)
            site.store.result(leases[0].lease_id, failed(Outcome.OUT_OF_MEMORY))
        else:
            site.finish(leases[0], 3.0 if trial.parent_number is None else 1.0)
            counted += [] if trial.parent_number is None else [(trial.repeat, trial.seed)]
    assert len(set(counted)) == len(counted) >= 3, "no seed is run twice"
    assert (1, lost[0]) in counted
    assert sorted(repeat for repeat, _ in counted) == list(range(len(counted)))
    assert site.store.best(search_id).repeats == len(counted)


def test_a_search_stopped_among_its_confirmations_keeps_the_best_so_far(site: Site) -> None:
    search_id = site.started(limits={"trials": 2}, confirmations=2, confirmation_repeats=1)
    site.run(2, loss=lambda number: 2.0 + number / 10)
    site.finish(site.claim_one(), 2.0)
    stopped = site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    assert stopped.status is SearchStatus.STOPPED
    assert stopped.best_trial_number == 1
    assert stopped.counts[TrialStatus.QUEUED] == 0


def test_a_machine_that_slows_down_favours_nobody(site: Site) -> None:
    """The rival's runs from before the first candidate say nothing of the hour of the race."""
    race = {"baseline_repeats": 3, "confirmation_repeats": 3, "confirmation_limit": 3}
    search_id = site.create(limits={"trials": 1}, confirmations=1, **race)
    for loss in (3.01, 3.0, 2.99):  # a busy first hour
        site.finish(site.claim_one(), loss)
    site.run(1, loss=lambda _: 2.0)
    noise = iter([0.01, 0.0, -0.01, 0.0, 0.01, -0.01])
    drain(site, loss=lambda _: 2.0 + next(noise))  # a quiet one, in which all are equal
    best = site.store.best(search_id)
    assert (best.repeats, best.baseline_repeats) == (3, 3)
    assert best.mean_fitness == pytest.approx(0.0, abs=0.02)
    assert best.verdict is not Verdict.BETTER
