"""A search that goes on from what another has evaluated, on the store of each database."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from brainformer.search.campaign.evaluated import (
    EvaluatedSearch,
    header_line,
    read_evaluated,
)
from brainformer.search.campaign.fitting import carried_into
from brainformer.search.errors import IdempotencyMismatch, InvalidInput
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.search.trials.reward import PRUNED_FITNESS
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.search.store.site import ME, Site, failed, spec


def exported(site: Site, *searches: str) -> list[EvaluatedSearch]:
    """Returns what a file of these searches' trials holds, read back."""
    lines: list[bytes] = []
    for one in searches:
        record = site.search(one)
        lines.append(header_line(record.id, record.name, record.spec))
        trials = site.trials(one, curves=True)
        lines += [trial.model_dump_json().encode() for trial in trials]
    return read_evaluated(lines, name="trials.jsonl")


def goes_on(site: Site, evaluated: Iterable[EvaluatedSearch], **changes: object) -> str:
    wanted = spec(name="next", **changes)
    campaign = carried_into(wanted, list(evaluated))
    return site.store.create_search(wanted, actor=ME, campaign=campaign).id


def campaign_of(site: Site, count: int = 12) -> str:
    """Returns a search with candidates of every end on one pool."""
    search_id = site.started()
    site.run(count, loss=lambda number: 2.0 + 0.01 * (number % 7))
    site.finish(site.claim_one(), 2.5, step_time_ms=900.0)  # far too slow
    diverged = site.claim_one()
    site.store.result(diverged.lease_id, failed(Outcome.DIVERGED))
    lost = site.claim_one()
    for _ in range(3):
        site.store.result(lost.lease_id, failed(Outcome.ERROR))
        lost = next((one for one in site.claim() if one.trial_id == lost.trial_id), lost)
    return search_id


def test_what_was_evaluated_counts_and_the_baseline_is_not_run_again(site: Site) -> None:
    first = campaign_of(site)
    before = site.trials(first, kinds=(TrialKind.CANDIDATE,), statuses=(TrialStatus.COMPLETED,))
    second = goes_on(site, exported(site, first))
    site.store.change_status(first, site.status(first).CANCELLED, actor=ME)
    record = site.search(second)
    taken = site.trials(second, kinds=(TrialKind.CANDIDATE,))
    assert {one.digest: one.fitness for one in taken if one.status is TrialStatus.COMPLETED} == {
        one.digest: one.fitness for one in before
    }
    assert all(one.imported for one in taken)
    assert record.best_fitness == max(one.fitness or 0 for one in before)
    assert record.baseline is not None
    assert record.baseline.validation_loss == 3.0
    assert record.candidates_finished == 13
    lease = site.claim_one()
    assert (lease.search_id, lease.kind) == (second, TrialKind.CANDIDATE)
    site.finish(lease, 1.5)
    assert site.search(second).best_fitness == pytest.approx(1.5)
    assert site.store.best(second).trial.number == lease.trial_number


def test_no_genome_that_was_evaluated_is_proposed_again(site: Site) -> None:
    first = campaign_of(site)
    known = {
        one.digest
        for one in site.trials(first, kinds=(TrialKind.CANDIDATE,))
        if one.outcome is not Outcome.ERROR
    }
    second = goes_on(site, exported(site, first))
    site.store.change_status(first, site.status(first).CANCELLED, actor=ME)
    site.run(30)
    own = [one for one in site.trials(second, kinds=(TrialKind.CANDIDATE,)) if not one.imported]
    assert len(own) == 30
    assert not known & {one.digest for one in own}


def test_children_descend_from_what_was_imported(site: Site) -> None:
    first = campaign_of(site)
    parents = {
        one.digest: one.parent_number for one in site.trials(first, kinds=(TrialKind.CANDIDATE,))
    }
    digests = {one.number: one.digest for one in site.trials(first)}
    second = goes_on(site, exported(site, first))
    taken = {one.number: one for one in site.trials(second, kinds=(TrialKind.CANDIDATE,))}
    descended = [one for one in taken.values() if one.parent_number is not None]
    assert descended
    for one in descended:
        assert one.parent_number is not None
        assert taken[one.parent_number].digest == digests[parents[one.digest] or 0]
    site.store.change_status(first, site.status(first).CANCELLED, actor=ME)
    (lease,) = site.run(1)
    assert site.trial(lease).parent_number in taken


def test_too_slow_is_judged_again_by_the_new_spec(site: Site) -> None:
    evaluated = exported(site, campaign_of(site))
    strict = goes_on(site, evaluated)
    pruned = site.trials(strict, statuses=(TrialStatus.PRUNED,))
    assert [one.fitness for one in pruned] == [PRUNED_FITNESS]


def test_a_forged_fitness_counts_for_nothing(site: Site) -> None:
    evaluated = exported(site, campaign_of(site))
    lines = [header_line("x", "forged", evaluated[0].header.spec)]
    lines += [
        trial.model_dump_json().encode().replace(b'"number"', b'"fitness":9.0,"number"')
        for trial in evaluated[0].trials
    ]
    second = goes_on(site, read_evaluated(lines, name="forged"))
    assert site.search(second).best_fitness == pytest.approx(1.0)


def test_seeds_still_come_first(site: Site) -> None:
    evaluated = exported(site, campaign_of(site))
    site.restart()
    second = goes_on(site, evaluated, seeds=("switch", "dense_transformer"), limits={"trials": 200})
    taken = [site.claim_one() for _ in range(6)]
    origins = [site.trial(one).origin for one in taken if one.search_id == second]
    assert origins[:2] == ["seed", "seed"]


def test_the_front_is_that_of_the_search_before(site: Site) -> None:
    first = site.started()
    for step in range(12):
        loss = 2.0 + 0.05 * ((5 * step) % 7)
        site.finish(site.claim_one(), loss, step_time_ms=10.0 + (3 * step) % 8)
    second = goes_on(site, exported(site, first))
    assert [one.digest for one in site.store.pareto(second)] == [
        one.digest for one in site.store.pareto(first)
    ]


def test_several_searches_of_one_campaign_are_taken_together(site: Site) -> None:
    first = campaign_of(site)
    files = exported(site, first)
    second = goes_on(site, files)
    site.store.change_status(first, site.status(first).CANCELLED, actor=ME)
    site.run(5)
    both = exported(site, first, second)
    campaign = carried_into(spec(name="third"), both)
    assert len(campaign.candidates) == 14 + 5
    assert [len(one.repeats) for one in campaign.pools] == [1]  # the same run, in both files


def test_pools_keep_their_own_baselines(site: Site) -> None:
    first = site.started()
    gpu = site.claim_one(pool="gpu")
    site.finish(gpu, 2.0)
    site.finish(site.claim_one(pool="gpu"), 1.5)
    site.finish(site.claim_one(), 1.5)
    second = goes_on(site, exported(site, first))
    found = site.trials(second, kinds=(TrialKind.CANDIDATE,))
    assert {one.pool: one.fitness for one in found} == {"gpu": 0.5, "cpu": 1.5}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"proxy": {"budget_seconds": 7}}, "budget_seconds"),
        ({"proxy": {"dataset_hash": "0" * 64}}, "different versions of data set"),
        ({"space": "brainformer-100m32e"}, "another space"),
        ({"baseline": "dense_transformer"}, "not one that this spec compares with"),
        ({"baseline_repeats": 4}, "1 completed runs of its baseline"),
        ({"limits": {"trials": 14}}, "limits.trials is 14"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    site: Site, changes: dict[str, object], told: str
) -> None:
    first = campaign_of(site)
    known = {**spec().model_dump(mode="json"), "name": "next"}
    known["proxy"]["dataset_hash"] = "1" * 64
    header = header_line("x", "old", spec().model_validate(known))
    lines = [one.model_dump_json().encode() for one in site.trials(first, curves=True)]
    evaluated = read_evaluated([header, *lines], name="old")
    proxy = {**known["proxy"], **changes.get("proxy", {})}  # type: ignore[dict-item]
    wanted = spec().model_validate({**known, **changes, "proxy": proxy})
    with pytest.raises(InvalidInput, match=told):
        carried_into(wanted, evaluated)


def test_a_genome_outside_the_space_is_refused(site: Site) -> None:
    (search,) = exported(site, campaign_of(site))
    foreign = zoo_genome("glam", load_preset("brainformer-100m32e"))
    trial = next(one for one in search.trials if one.kind is TrialKind.CANDIDATE)
    other = trial.model_copy(update={"genome": foreign})
    changed = search.model_copy(update={"trials": (*search.trials, other)})
    with pytest.raises(InvalidInput, match=rf"trial {trial.number} of search laptop"):
        carried_into(spec(), [changed])


def test_the_same_key_with_other_trials_is_another_request(site: Site) -> None:
    evaluated = exported(site, campaign_of(site))
    wanted = spec(name="next")
    campaign = carried_into(wanted, evaluated)
    made = site.store.create_search(wanted, actor=ME, idempotency_key="k", campaign=campaign)
    again = site.store.create_search(wanted, actor=ME, idempotency_key="k", campaign=campaign)
    assert again.id == made.id
    with pytest.raises(IdempotencyMismatch):
        site.store.create_search(wanted, actor=ME, idempotency_key="k")
