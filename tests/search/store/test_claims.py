"""Claims: who gets which trial, and in which order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brainformer.search.errors import LeaseLost, NotFound
from brainformer.search.status import SearchStatus
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import ClaimRequest
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.search.store.site import ME, Site, failed

HASH = "a" * 64
OTHER = "b" * 64


def test_baselines_come_first_and_candidates_wait_for_them(site: Site) -> None:
    site.create(baseline_repeats=2)
    first, second = site.claim(count=8)
    assert {first.kind, second.kind} == {TrialKind.BASELINE}
    assert site.claim() == []
    site.finish(first, 3.0)
    assert site.claim() == []
    site.finish(second, 3.0)
    assert site.claim_one().kind is TrialKind.CANDIDATE


def test_every_pool_has_a_baseline_of_its_own(site: Site) -> None:
    search_id = site.started()
    slow = site.claim_one(pool="v6e-8")
    assert (slow.kind, slow.pool) == (TrialKind.BASELINE, "v6e-8")
    assert site.claim_one(pool="cpu").kind is TrialKind.CANDIDATE
    site.finish(slow, 2.5)
    pools = {one.pool: one.validation_loss for one in site.store.baselines(search_id)}
    assert pools == {"cpu": 3.0, "v6e-8": 2.5}


def test_fitness_is_relative_to_the_baseline_of_the_pool_that_ran_the_trial(site: Site) -> None:
    site.started()
    site.finish(site.claim_one(pool="v6e-8"), 2.5)
    assert site.finish(site.claim_one(pool="cpu"), 2.0).fitness == pytest.approx(1.0)
    assert site.finish(site.claim_one(pool="v6e-8"), 2.0).fitness == pytest.approx(0.5)


def test_a_claim_is_granted_for_the_searchs_lease_time(site: Site) -> None:
    site.started(lease_seconds=90)
    lease = site.claim_one()
    left = lease.expires_at.timestamp() - site.clock.now
    assert timedelta(seconds=left) == timedelta(seconds=90)
    assert (lease.lease_seconds, lease.attempt) == (90, 1)
    assert LeaseId.parse(lease.lease_id)[:2] == (lease.trial_id, 1)


def test_one_claim_grants_up_to_its_count(site: Site) -> None:
    search_id = site.started(limits={"trials": 5})
    leases = site.claim(count=8)
    assert len(leases) == 5
    assert [lease.trial_number for lease in leases] == [1, 2, 3, 4, 5]
    assert len({lease.genome.digest for lease in leases}) == 5
    assert site.search(search_id).counts[TrialStatus.RUNNING] == 5


def two_searches(site: Site) -> list[str]:
    """Two searches whose baselines are complete, the older one first."""
    first = site.started(name="a")
    site.store.change_status(first, SearchStatus.PAUSED, actor=ME)
    second = site.started(name="b")
    site.store.change_status(first, SearchStatus.RUNNING, actor=ME)
    return [first, second]


def test_the_search_with_the_fewest_running_trials_is_served_first(site: Site) -> None:
    first, second = two_searches(site)
    site.store.change_status(second, SearchStatus.PAUSED, actor=ME)
    site.claim(count=3)
    site.store.change_status(second, SearchStatus.RUNNING, actor=ME)
    owners = [lease.search_id for lease in site.claim(count=4)]
    assert owners == [second, second, second, first]


def test_two_searches_share_a_worker_evenly(site: Site) -> None:
    both = two_searches(site)
    leases = site.claim(count=6)
    assert [sum(lease.search_id == one for lease in leases) for one in both] == [3, 3]


def test_one_slot_serves_two_searches_in_turn(site: Site) -> None:
    searches = {site.started(), site.started()}
    served = []
    for _ in range(6):
        lease = site.claim_one()
        served.append(lease.search_id)
        site.finish(lease, 2.0)
    assert set(served[0::2]) | set(served[1::2]) == searches
    assert served[0::2] == [served[0]] * 3
    assert served[1::2] == [served[1]] * 3


def test_a_search_serves_only_the_pools_that_it_names(site: Site) -> None:
    search_id = site.create(pools=["h200"])
    assert site.claim(pool="cpu") == []
    assert site.claim_one(pool="h200").search_id == search_id


def test_the_first_worker_fixes_the_data_and_another_copy_is_refused_once_told(site: Site) -> None:
    search_id = site.create(baseline_repeats=3)

    def ask(worker: str, digest: str | None) -> int:
        data = {} if digest is None else {"python-stdlib": digest}
        return len(site.store.claim(ClaimRequest(worker_id=worker, pool="cpu", datasets=data)))

    assert ask("a", HASH) == 1
    assert site.search(search_id).spec.proxy.dataset_hash == HASH
    assert ask("b", OTHER) == 0
    assert ask("b", OTHER) == 0
    assert ask("c", None) == 0
    assert ask("d", HASH) == 1
    refusals = [one for one in site.store.events() if one.kind == "worker.refused"]
    assert [one.data["worker_id"] for one in refusals] == ["b", "c"]


def test_a_lease_carries_the_hash_that_the_search_recorded(site: Site) -> None:
    site.create(baseline_repeats=2)
    request = ClaimRequest(worker_id="w", pool="cpu", datasets={"python-stdlib": HASH})
    assert site.store.claim(request)[0].proxy.dataset_hash == HASH


def test_the_same_seed_proposes_the_same_search_after_a_restart(site: Site) -> None:
    def genomes(site: Site, *, restarting: bool) -> list[str]:
        search_id = site.started(screening={"kind": "gaussian_process"})
        found = []
        for number in range(16):
            if restarting and number % 5 == 0:
                site.restart()
            lease = site.claim_one()
            site.finish(lease, 2.0 + len(lease.genome.layers) / 10)
            found.append(lease.genome.digest)
        site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)
        return found

    assert genomes(site, restarting=False) == genomes(site, restarting=True)


def test_trials_of_one_search_train_with_seeds_of_their_own(site: Site) -> None:
    site.started()
    seeds = [lease.seed for lease in site.claim(count=20)]
    assert len(set(seeds)) == 20


def test_a_lease_handed_back_is_given_again_and_its_attempt_not_counted(site: Site) -> None:
    site.started(max_attempts=1)
    lease = site.claim_one()
    site.store.release(lease.lease_id)
    assert site.trial(lease).status is TrialStatus.QUEUED
    again = site.claim_one()
    assert (again.trial_id, again.attempt) == (lease.trial_id, 2)
    assert site.store.result(again.lease_id, failed(Outcome.PREEMPTED)).status == "failed"


def test_handing_back_twice_is_harmless_and_a_lost_lease_is_not_handed_back(site: Site) -> None:
    site.started()
    lease = site.claim_one()
    site.store.release(lease.lease_id)
    site.store.release(lease.lease_id)
    again = site.claim_one()
    site.store.release(lease.lease_id)
    assert site.trial(again).status is TrialStatus.RUNNING
    site.finish(again)
    with pytest.raises(LeaseLost):
        site.store.release(again.lease_id)
    assert site.trial(again).status is TrialStatus.COMPLETED


@pytest.mark.parametrize(
    "lease_id", ["", "1", "1-0", "0-1", "x-1", "1-1-1", "9" * 30 + "-1", "1-7"]
)
def test_a_lease_that_never_was_is_not_found(site: Site, lease_id: str) -> None:
    site.started()
    with pytest.raises(NotFound):
        site.store.release(lease_id)


def test_a_candidate_lost_with_its_pool_is_given_to_another_pool(site: Site) -> None:
    search_id = site.started()
    site.finish(site.claim_one(pool="spot"), 2.5)
    lease = site.claim_one(pool="spot")
    site.store.result(lease.lease_id, failed(Outcome.PREEMPTED))
    again = site.claim_one(pool="cpu")
    assert (again.trial_id, again.attempt) == (lease.trial_id, 2)
    assert site.finish(again, 2.0).fitness == pytest.approx(1.0)
    assert site.trial(again).pool == "cpu"
    assert [one.pool for one in site.store.attempts(search_id, again.trial_number)] == [
        "spot",
        "cpu",
    ]


def test_a_baseline_stays_on_its_pool(site: Site) -> None:
    site.create()
    lease = site.claim_one(pool="cpu")
    site.store.result(lease.lease_id, failed(Outcome.PREEMPTED))
    other = site.claim_one(pool="h200")
    assert other.trial_id != lease.trial_id
    assert site.claim_one(pool="cpu").trial_id == lease.trial_id


def test_a_space_without_further_genomes_ends_the_search(site: Site) -> None:
    tiny = {
        "name": "tiny",
        "model_dim": [64],
        "min_layers": 1,
        "max_layers": 1,
        "layers": {
            "feed_forward": {"hidden_dim": [128, 256], "activation": ["relu"]},
        },
    }
    layer = {"kind": "feed_forward", "hidden_dim": 128, "activation": "relu"}
    search_id = site.create(space=tiny, baseline={"model_dim": 64, "layers": [layer]})
    while leases := site.claim():
        site.finish(leases[0])
    ended = site.search(search_id)
    assert ended.status is SearchStatus.COMPLETED
    assert "every genome" in ended.reason
    assert ended.candidates_proposed == 2


def test_nothing_is_kept_in_memory_of_searches_that_have_ended(site: Site) -> None:
    search_id = site.started()
    site.run(2)
    assert search_id in site.store._caches
    site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)
    site.create()
    site.claim()
    assert search_id not in site.store._caches
