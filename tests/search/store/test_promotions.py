"""Promotions in the store: tuning, then proof; runs claimed, lost and ended like a search's."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from brainformer.search.errors import Conflict, IdempotencyMismatch, InvalidSpec, NotFound
from brainformer.search.estimates.verdict import Verdict
from brainformer.search.status import SearchStatus
from brainformer.search.store.records import PromotionRecord, SearchRecord
from brainformer.search.studies.plan import StudyKind
from brainformer.search.studies.promotion import Caps, PromotionRequest
from brainformer.search.trials.lease_messages import ClaimRequest, Lease
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.search.store.site import ME, Site, failed

SMALL: dict[str, Any] = {
    "top": 2,
    "scales": [1, 2],
    "budget_seconds": [600],
    "repeats": 3,
    "learning_rates": [0.5, 1.0],
    "rival_depths": [1.0],
    "rival_widths": [0.5, 1.0],
    "ladder": [0.5, 1.0, 2.0],
}
NOISE = (0.004, -0.004, 0.0)


def request(**changes: Any) -> PromotionRequest:
    return PromotionRequest.model_validate(SMALL | changes)


def searched(site: Site, candidates: int = 4, **changes: object) -> str:
    """Returns a search that has ended, candidate n with loss 2 + n / 100."""
    search_id = site.started(limits={"trials": candidates}, **changes)
    site.run(candidates, lambda number: 2 + number / 100)
    assert site.status(search_id) is SearchStatus.COMPLETED
    return search_id


def promote(site: Site, search_id: str, pool: str | None = None, **changes: Any) -> SearchRecord:
    return site.store.studies.create_promotion(search_id, request(**changes), pool=pool, actor=ME)


def of(site: Site, search_id: str) -> PromotionRecord:
    return site.store.studies.promotions(search_id)[0]


def is_tuning(lease: Lease) -> bool:
    return lease.proxy.evaluation_split == "validation"


def loss_of(lease: Lease, speedups: dict[str, float], seeds: list[int]) -> float:
    """The rival falls by 0.1 nats a doubling; a block is its speedup's time ahead.

    Learning rate x1 is the best one, so tuning has to choose it.
    """
    speedup = speedups.get(lease.genome.digest, 1.0)
    if lease.seed not in seeds:
        seeds.append(lease.seed)
    doubled = math.log2(lease.proxy.budget_seconds * speedup)
    wrong_rate = 0.3 if is_tuning(lease) and lease.trial_number % 2 == 0 else 0.0
    return 4.0 - 0.1 * doubled + wrong_rate + NOISE[seeds.index(lease.seed) % 3]


def run(site: Site, study: str, speedups: dict[str, float]) -> list[Lease]:
    """Claims and completes every run of a promotion; returns the leases."""
    leases: list[Lease] = []
    seeds: list[int] = []
    while site.status(study) is SearchStatus.RUNNING:
        lease = site.claim_one()
        site.finish(lease, loss_of(lease, speedups, seeds), tokens=1_000_000, bits_per_byte=3.0)
        leases.append(lease)
    return leases


def test_everybody_is_tuned_and_then_proven_with_fresh_paired_seeds(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id)
    assert (study.kind, study.parent_id) == (StudyKind.PROMOTION, search_id)
    leases = run(site, study.id, {})
    assert {lease.kind for lease in leases} == {TrialKind.PROMOTION}
    tuning = [lease for lease in leases if is_tuning(lease)]
    proof = [lease for lease in leases if not is_tuning(lease)]
    # At both points: two finalists and two shapes of the rival with two rates; then three seeds of
    # two finalists and three rungs.
    assert len(tuning) == 2 * (2 * 2 + 2 * 2)
    assert len(proof) == 2 * 3 * (2 + 3)
    assert not {lease.seed for lease in tuning} & {lease.seed for lease in proof}
    seeds = Counter((one.genome.digest, one.proxy.budget_seconds, one.seed) for one in proof)
    assert set(seeds.values()) == {1}
    assert len({one.seed for one in proof}) == 3
    own = {trial.seed for trial in site.trials(search_id)}
    assert not own & {one.seed for one in leases}
    assert site.status(study.id) is SearchStatus.COMPLETED
    found = of(site, search_id)
    assert found.result.finished == found.result.planned == len(leases)
    spent = sum(lease.proxy.budget_seconds for lease in leases)
    assert found.planned_seconds == pytest.approx(spent)
    assert [one.id for one in site.store.list_searches().items] == [search_id]


def test_the_second_scale_is_wider_and_deeper_with_a_lower_rate_and_more_time(site: Site) -> None:
    search_id = searched(site)
    proxy = site.search(search_id).spec.proxy
    run(site, promote(site, search_id).id, {})
    one, two = of(site, search_id).result.points
    assert (one.label, two.label) == ("x1", "x2")
    assert two.budget_seconds == 600
    sizes = [point.rows[-1].activated_parameters for point in (one, two)]
    assert one.budget_seconds < 600 * 0.5
    assert 4 < sizes[1] / sizes[0] < 20
    small, large = one.rows[0], two.rows[0]
    assert small.genome is not None
    assert large.genome is not None
    assert large.genome.model_dim == 2 * small.genome.model_dim
    assert large.proxy is not None
    assert large.proxy.blocks == 2 * proxy.blocks
    assert small.learning_rate == pytest.approx(proxy.peak_learning_rate)
    assert large.learning_rate == pytest.approx(proxy.peak_learning_rate / 2)


def test_the_result_is_the_papers_table_with_speedups_and_claims(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id)
    best = of(site, search_id).result.points
    assert [row.trial for row in best[0].rows] == [1, 2, None]
    digests: dict[str, float] = {}
    for trial in site.trials(study.id):
        if ": trial 1," in trial.label:
            digests[trial.digest] = 1.5
        elif ": trial 2," in trial.label:
            digests[trial.digest] = 0.7
    run(site, study.id, digests)
    result = of(site, search_id).result
    for point in result.points:
        good, bad, rival = point.rows
        assert point.tuned
        assert good.speedup is not None
        assert good.speedup.value == pytest.approx(1.5, rel=0.02)
        assert good.speedup.low is not None
        assert good.speedup.high is not None
        assert 1 < good.speedup.low < 1.5 < good.speedup.high
        assert bad.speedup is not None
        assert bad.speedup.value == pytest.approx(0.7, rel=0.02)
        assert good.gain == pytest.approx(0.1 * math.log2(1.5))
        assert (rival.speedup, rival.gain) == (None, None)
        assert (good.runs, good.diverged) == (3, 0)
        assert good.loss is not None
        assert good.loss_interval is not None
        assert good.loss_interval[0] < good.loss < good.loss_interval[1]
        assert good.steps_per_second == pytest.approx(50)
        assert good.tokens == 1_000_000
        assert good.parameters > good.activated_parameters
        assert [len(rung.losses) for rung in point.ladder] == [3, 3, 3]
        assert point.compute is not None
    claims = {claim.trial: claim for claim in result.claims}
    assert claims[1].verdict is Verdict.BETTER
    assert claims[1].trend is not None
    assert claims[1].trend.low < 0 < claims[1].trend.high
    assert claims[2].verdict is Verdict.NOT_BETTER


def test_a_run_that_diverges_is_no_better_and_one_that_fails_is_left_out(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id, scales=[1], learning_rates=[1.0], rival_widths=[1.0])
    first = site.claim_one()
    site.store.result(first.lease_id, failed(Outcome.DIVERGED))
    second = site.claim_one()
    for _ in range(3):
        site.store.result(second.lease_id, failed(Outcome.ERROR))
        if site.trial(second).status is not TrialStatus.QUEUED:
            break
        second = site.claim_one()
    run(site, study.id, {})
    result = of(site, search_id).result
    one, two, _ = result.points[0].rows
    assert (one.diverged, one.loss, one.speedup) == (1, None, None)
    assert (two.runs, two.diverged) == (2, 0)
    assert result.claims[0].verdict is Verdict.NOT_BETTER
    assert any("1 runs failed" in note for note in result.points[0].notes)


def test_a_rival_that_never_trains_ends_the_point_without_a_proof(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id, scales=[1])
    rivals = {one.number for one in site.trials(study.id) if ": rival," in one.label}
    while site.status(study.id) is SearchStatus.RUNNING:
        lease = site.claim_one()
        if lease.trial_number in rivals:
            site.store.result(lease.lease_id, failed(Outcome.DIVERGED))
        else:
            site.finish(lease, 2.0)
    result = of(site, search_id).result
    assert result.points[0].ladder == ()
    assert {claim.verdict for claim in result.claims} == {Verdict.NOT_CONFIRMED}


def test_without_anything_to_tune_the_proof_begins_at_once(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id, scales=[1], learning_rates=[1.0], rival_widths=[1.0])
    assert len(site.trials(study.id)) == 3 * (2 + 3)
    leases = run(site, study.id, {})
    assert not any(is_tuning(lease) for lease in leases)
    assert len(leases) == 15


def test_a_paused_promotion_goes_on_where_it_was(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id, scales=[1])
    leases = [site.claim_one() for _ in range(8)]  # all of the tuning
    assert site.claim() == []
    site.store.change_status(study.id, SearchStatus.PAUSED, actor=ME)
    for lease in leases:
        site.finish(lease, 2.0)
    assert len(site.trials(study.id)) == 8
    assert site.claim() == []
    site.store.change_status(study.id, SearchStatus.RUNNING, actor=ME)
    assert len(site.trials(study.id)) == 8 + 3 * (2 + 3)
    run(site, study.id, {})
    assert site.status(study.id) is SearchStatus.COMPLETED


def test_a_lost_run_is_tried_again_with_its_seed_and_proxy(site: Site) -> None:
    study = promote(site, searched(site))
    lease = site.claim_one()
    site.store.result(lease.lease_id, failed(Outcome.PREEMPTED))
    again = site.claim_one()
    same = (again.trial_number, again.seed, again.proxy)
    assert same == (lease.trial_number, lease.seed, lease.proxy)
    site.clock.advance(3600)  # its worker died: nobody says so
    third = site.claim_one(worker="w-2")
    assert (third.trial_number, third.attempt) == (lease.trial_number, 3)
    assert site.status(study.id) is SearchStatus.RUNNING


def test_a_stopped_promotion_queues_no_proof(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id, scales=[1])
    lease = site.claim_one()
    site.store.change_status(study.id, SearchStatus.STOPPING, actor=ME)
    site.finish(lease, 2.0)
    assert site.status(study.id) is SearchStatus.STOPPED
    assert not site.trials(study.id, statuses=(TrialStatus.QUEUED,))


def test_a_target_is_reached_by_every_block_alike(site: Site) -> None:
    search_id = searched(site)
    promote(site, search_id, scales=[], targets=[100_000_000], budget_seconds=[864_000])
    (point,) = of(site, search_id).result.points
    assert point.label == "100M"
    for row in point.rows:
        assert row.activated_parameters == pytest.approx(10**8, rel=0.05)
    lease = site.claim_one()
    assert lease.proxy.sequence_length == 1024
    assert lease.proxy.vocab_size == site.search(search_id).spec.proxy.vocab_size


def test_named_trials_are_promoted_in_their_order(site: Site) -> None:
    search_id = searched(site)
    promote(site, search_id, trials=[3, 1])
    rows = of(site, search_id).result.points[0].rows
    assert [row.trial for row in rows] == [3, 1, None]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": [99]}, "must be a completed candidate; there is none in laptop"),
        ({"trials": [0]}, "it is a completed baseline in laptop"),
        ({"top": 9}, "has 4 different completed candidates on pool cpu"),
        ({"targets": [1000]}, "the rival cannot be scaled to 1K: nothing comes within 5%"),
        ({"scales": [900]}, "the rival cannot be scaled to x900"),
        ({"budget_seconds": [0.5]}, r"a budget of .* at x1 leaves about \d+ steps"),
        ({"budget_seconds": [20 * 24 * 3600]}, "must take at most 30 days"),
        (
            {"repeats": 50, "scales": [1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 3], "top": 4}
            | {"ladder": [1, 2, 3, 4, 5, 6, 7, 8], "learning_rates": [1, 2, 3, 4, 5, 6, 7, 8]}
            | {"budget_seconds": [3600]},
            "at most 5000 are allowed",
        ),
    ],
)
def test_what_cannot_be_promoted_is_refused_and_nothing_is_created(
    site: Site, changes: dict[str, Any], words: str
) -> None:
    search_id = searched(site)
    with pytest.raises(InvalidSpec, match=words):
        promote(site, search_id, **changes)
    assert not site.store.studies.promotions(search_id)
    assert not site.store.list_searches(kinds=(StudyKind.PROMOTION,)).items


def test_a_model_beyond_the_caps_is_refused_and_a_part_of_a_family_is_left_out(site: Site) -> None:
    search_id = searched(site)
    create = site.store.studies.create_promotion
    with pytest.raises(InvalidSpec, match="at most 1000 parameters are allowed here"):
        create(search_id, request(), pool=None, actor=ME, caps=Caps(parameters=1000))
    promote(site, search_id)
    rows = of(site, search_id).result.points[1].rows
    least = max(row.parameters for row in rows)
    wide = request(rival_widths=[1.0, 4.0])
    create(search_id, wide, pool=None, actor=ME, caps=Caps(parameters=least))
    left_out = of(site, search_id).result.left_out
    assert any("width x4: at most" in words for words in left_out)


def test_other_data_is_for_the_whole_promotion(site: Site) -> None:
    search_id = searched(site)
    books = {"parameters": 10**8, "dataset": "books", "vocab_size": 1000}
    with pytest.raises(InvalidSpec, match="all scales and targets of a promotion train on one"):
        promote(site, search_id, targets=[books])
    study = promote(site, search_id, scales=[], targets=[books], budget_seconds=[864_000])
    assert study.spec.proxy.dataset == "books"
    ours = ClaimRequest(worker_id="w-1", pool="cpu", datasets={"python-stdlib": "0" * 64})
    assert site.store.claim(ours) == []
    theirs = ClaimRequest(worker_id="w-1", pool="cpu", datasets={"books": "1" * 64})
    (lease,) = site.store.claim(theirs)
    assert (lease.proxy.dataset, lease.proxy.dataset_hash) == ("books", "1" * 64)
    assert lease.proxy.vocab_size == 1000


def test_an_empty_search_has_nothing_to_promote(site: Site) -> None:
    search_id = site.started()
    with pytest.raises(InvalidSpec, match="no completed candidate to promote"):
        promote(site, search_id)


def test_a_pool_that_is_unknown_drained_or_gone_is_refused(site: Site) -> None:
    search_id = searched(site)
    with pytest.raises(Conflict, match="no baseline on pool tpu; it has one on cpu"):
        promote(site, search_id, pool="tpu", top=1)
    site.store.pools.drain("cpu", actor=ME)
    with pytest.raises(Conflict, match="pool cpu is drained; resume it"):
        promote(site, search_id)
    site.store.pools.resume("cpu", actor=ME)
    site.clock.advance(2 * 3600)
    with pytest.raises(Conflict, match=r"no worker of pool cpu has been heard of since .*UTC"):
        promote(site, search_id)
    assert site.claim() == []  # a worker comes back
    study = promote(site, search_id)
    assert of(site, search_id).waiting == ""
    site.clock.advance(2 * 3600)
    assert "no worker of pool cpu" in of(site, search_id).waiting
    site.store.change_status(study.id, SearchStatus.CANCELLED, actor=ME)
    assert of(site, search_id).waiting == ""


def test_a_study_has_no_studies_of_its_own(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id)
    with pytest.raises(Conflict, match="is a promotion, not a search"):
        promote(site, study.id)


def test_one_promotion_is_found_by_id_or_name(site: Site) -> None:
    search_id = searched(site)
    study = promote(site, search_id)
    assert site.store.studies.promotion(search_id, study.id).study.id == study.id
    assert site.store.studies.promotion(search_id, study.name).study.id == study.id
    with pytest.raises(NotFound):
        site.store.studies.promotion(search_id, search_id)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"top": 0}, "greater than or equal to 1"),
        ({"scales": []}, "needs scales, targets or both"),
        ({"scales": [1, 1]}, "scales: duplicate choice"),
        ({"trials": [3, 3]}, "trials: duplicate choice"),
        ({"ladder": [2.0, 4.0]}, "ladder: 1 must be among"),
        ({"budget_seconds": [1, 2, 3]}, "one for each of the 2 scales and targets, got 3"),
        ({"budget_seconds": []}, "at least 1 item"),
        ({"repeats": 1}, "greater than or equal to 2"),
        ({"scales": list(range(1, 10))}, "at most 8"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        request(**changes)


def test_a_key_makes_one_promotion(site: Site) -> None:
    search_id = searched(site)
    create = site.store.studies.create_promotion
    ids = {
        create(search_id, request(), pool=None, actor=ME, idempotency_key="k").id for _ in range(2)
    }
    assert len(ids) == len(site.store.studies.promotions(search_id)) == 1
    with pytest.raises(IdempotencyMismatch):
        create(search_id, request(top=1), pool=None, actor=ME, idempotency_key="k")
