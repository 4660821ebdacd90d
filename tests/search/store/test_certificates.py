"""Certificates in the store: runs claimed and ended like a search's, and what they show."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from brainformer.search.errors import Conflict, IdempotencyMismatch, InvalidSpec
from brainformer.search.status import SearchStatus
from brainformer.search.store.records import SearchRecord
from brainformer.search.studies.certificate import CertificateRequest
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.lease_messages import Lease
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.search.store.site import ME, Site, failed

REQUEST = CertificateRequest(blocks=8, repeats=2, budgets=(1.0, 4.0), scales=(1.0,))


def searched(site: Site, candidates: int = 12, **changes: object) -> str:
    """Returns a search that has ended, candidate n with loss 2 + n / 100."""
    search_id = site.started(limits={"trials": candidates}, **changes)
    site.run(candidates, lambda number: 2 + number / 100)
    assert site.status(search_id) is SearchStatus.COMPLETED
    return search_id


def certify(site: Site, search_id: str, request: CertificateRequest = REQUEST) -> SearchRecord:
    return site.store.studies.create_certificate(search_id, request, pool=None, actor=ME)


def loss_of(lease: Lease, at_proxy: dict[str, float], budget: float) -> float:
    """What a block loses falls by 0.5 with the longer budget, ranks kept."""
    loss = at_proxy.get(lease.genome.digest, 2.5)
    return loss - (0.5 if lease.proxy.budget_seconds > budget else 0.0)


def test_a_certificate_runs_every_block_at_every_budget_and_ends(site: Site) -> None:
    search_id = searched(site)
    proxy = site.search(search_id).spec.proxy
    candidates = site.trials(search_id, kinds=(TrialKind.CANDIDATE,))
    at_proxy = {trial.digest: trial.measurements.validation_loss or 0.0 for trial in candidates}
    study = certify(site, search_id)
    assert (study.kind, study.parent_id) == (StudyKind.CERTIFICATE, search_id)
    leases = []
    while site.status(study.id) is SearchStatus.RUNNING:
        lease = site.claim_one()
        assert (lease.search_id, lease.kind) == (study.id, TrialKind.CERTIFICATE)
        site.finish(lease, loss_of(lease, at_proxy, proxy.budget_seconds))
        leases.append(lease)
    assert len(leases) == 9 * 2 * 2  # eight blocks and the rival
    assert {lease.proxy.budget_seconds for lease in leases} == {
        proxy.budget_seconds,
        4 * proxy.budget_seconds,
    }
    seeds = {(lease.genome.digest, lease.proxy.budget_seconds): set() for lease in leases}
    for lease in leases:
        seeds[lease.genome.digest, lease.proxy.budget_seconds].add(lease.seed)
    assert len({frozenset(pair) for pair in seeds.values()}) == 1  # repeats are paired
    assert site.status(study.id) is SearchStatus.COMPLETED
    certificate = site.store.studies.certificates(search_id)[0]
    assert certificate.result.finished == certificate.result.planned == 36
    row = certificate.result.rows[0]
    assert (row.budget, row.target_budget, row.blocks) == (1.0, 4.0, 8)
    assert row.tau.value == pytest.approx(1.0)
    assert row.regret.value == pytest.approx(0.0)
    assert certificate.result.sufficient_budget == 1.0
    assert certificate.result.noise == pytest.approx(0.0, abs=1e-9)


def test_ranks_that_turn_round_are_seen(site: Site) -> None:
    search_id = searched(site)
    budget = site.search(search_id).spec.proxy.budget_seconds
    candidates = site.trials(search_id, kinds=(TrialKind.CANDIDATE,))
    loss = {trial.digest: trial.measurements.validation_loss or 0.0 for trial in candidates}
    study = certify(site, search_id)
    while site.status(study.id) is SearchStatus.RUNNING:
        lease = site.claim_one()
        cheap = loss.get(lease.genome.digest, 2.5)
        site.finish(lease, 4.0 - cheap if lease.proxy.budget_seconds > budget else cheap)
    result = site.store.studies.certificates(search_id)[0].result
    assert result.rows[0].tau.value == pytest.approx(-1.0)
    assert result.rows[0].regret.value > 0.03
    # Only the target's own budget names its best block.
    assert result.sufficient_budget is None


def test_a_run_that_fails_is_left_out_and_one_that_diverges_ranks_last(site: Site) -> None:
    search_id = searched(site)
    study = certify(site, search_id)
    broken = diverged = ""
    while site.status(study.id) is SearchStatus.RUNNING:
        lease = site.claim_one()
        broken = broken or lease.genome.digest
        if lease.genome.digest != broken:
            diverged = diverged or lease.genome.digest
        if lease.genome.digest == broken:
            site.store.result(lease.lease_id, failed(Outcome.ERROR))
        elif lease.genome.digest == diverged:
            site.store.result(lease.lease_id, failed(Outcome.DIVERGED))
        else:
            site.finish(lease, 2.0 + (lease.trial_number % 9) / 50)
    assert site.status(study.id) is SearchStatus.COMPLETED
    result = site.store.studies.certificates(search_id)[0].result
    assert result.rows[0].blocks == 7
    assert result.finished == 36


def test_too_few_candidates_are_refused_and_nothing_is_created(site: Site) -> None:
    search_id = searched(site, candidates=5)
    with pytest.raises(InvalidSpec, match="needs as many completed candidates; the search has 5"):
        certify(site, search_id)
    assert not site.store.studies.certificates(search_id)


def test_a_search_without_a_baseline_cannot_be_certified(site: Site) -> None:
    search_id = site.create()
    with pytest.raises(Conflict, match="has a complete baseline yet"):
        certify(site, search_id)


def test_a_pool_that_the_search_does_not_know_is_refused(site: Site) -> None:
    search_id = searched(site)
    with pytest.raises(Conflict, match="no baseline on pool tpu; it has one on cpu"):
        site.store.studies.create_certificate(search_id, REQUEST, pool="tpu", actor=ME)


@pytest.mark.parametrize("budgets", [(2.0, 4.0), (1.0, 1.0)])
def test_multiples_are_distinct_and_hold_the_proxys_own(
    site: Site, budgets: tuple[float, ...]
) -> None:
    search_id = searched(site)
    with pytest.raises(InvalidSpec, match="budgets must be distinct multiples with 1"):
        certify(site, search_id, REQUEST.model_copy(update={"budgets": budgets}))


def test_a_certificate_is_paused_stopped_and_deleted_with_its_search(site: Site) -> None:
    search_id = searched(site)
    study = certify(site, search_id)
    assert [one.id for one in site.store.list_searches().items] == [search_id]
    site.store.change_status(study.id, SearchStatus.PAUSED, actor=ME)
    assert site.claim() == []
    with pytest.raises(Conflict, match="certificate that is paused"):
        site.store.delete_search(search_id, actor=ME)
    with pytest.raises(Conflict, match="has no limits to change"):
        site.store.change_limits(study.id, study.spec.limits, actor=ME)
    site.store.change_status(study.id, SearchStatus.RUNNING, actor=ME)
    lease = site.claim_one()
    site.store.change_status(study.id, SearchStatus.STOPPING, actor=ME)
    site.finish(lease, 2.0)
    assert site.status(study.id) is SearchStatus.STOPPED
    queued = site.trials(study.id, statuses=(TrialStatus.QUEUED,))
    assert not queued
    site.store.delete_search(search_id, actor=ME)
    assert not site.store.list_searches(kinds=(StudyKind.CERTIFICATE,)).items


def test_a_preempted_run_is_tried_again_on_its_pool(site: Site) -> None:
    study = certify(site, searched(site))
    lease = site.claim_one()
    site.store.result(lease.lease_id, failed(Outcome.PREEMPTED))
    again = site.claim_one()
    assert (again.trial_number, again.seed) == (lease.trial_number, lease.seed)
    assert site.claim(pool="gpu") == []
    assert site.status(study.id) is SearchStatus.RUNNING


def test_a_key_makes_one_certificate_even_if_it_could_not_be_made_again(site: Site) -> None:
    search_id = searched(site)
    create = site.store.studies.create_certificate
    first = create(search_id, REQUEST, pool=None, actor=ME, idempotency_key="k")
    site.store.pools.retire("cpu", actor=ME)
    with pytest.raises(Conflict):
        create(search_id, REQUEST, pool=None, actor=ME)
    again = create(search_id, REQUEST, pool=None, actor=ME, idempotency_key="k")
    assert again.id == first.id
    assert len(site.store.studies.certificates(search_id)) == 1


def test_a_key_belongs_to_one_body(site: Site) -> None:
    search_id = searched(site)
    site.store.create_search(site.search(search_id).spec, actor=ME, idempotency_key="of a search")
    create = site.store.studies.create_certificate
    create(search_id, REQUEST, pool=None, actor=ME, idempotency_key="k")
    other = REQUEST.model_copy(update={"repeats": 3})
    for request, pool, key in (
        (other, None, "k"),
        (REQUEST, "cpu", "k"),
        (REQUEST, None, "of a search"),
    ):
        with pytest.raises(IdempotencyMismatch):
            create(search_id, request, pool=pool, actor=ME, idempotency_key=key)
    assert len(site.store.studies.certificates(search_id)) == 1


def test_one_key_sent_by_many_at_once_makes_one_certificate(site: Site) -> None:
    search_id = searched(site)

    def create(_: int) -> str:
        studies = site.store.studies
        made = studies.create_certificate(
            search_id, REQUEST, pool=None, actor=ME, idempotency_key="k"
        )
        return made.id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(create, range(8)))) == 1
    assert len(site.store.studies.certificates(search_id)) == 1
