"""Certificates in SQL: created, and read with what they show."""

from __future__ import annotations

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.pools import OutOfWork
from brainformer.search.sql.rows.table_rows import SearchRow
from brainformer.search.sql.rows.values import lean_measurements, read_genome, read_spec
from brainformer.search.sql.searches import to_record
from brainformer.search.sql.studies.study import (
    MOST_CANDIDATES,
    create_study,
    find_parent,
    known_proxy,
    ready_pool,
    studies_of,
)
from brainformer.search.sql.trials.baselines import rival_of
from brainformer.search.sql.trials.completion import best_candidates
from brainformer.search.sql.trials.study_runs import RUNS, RunRow, how_ended
from brainformer.search.store.actor import Actor
from brainformer.search.store.records import CertificateRecord, SearchRecord
from brainformer.search.studies.certificate import (
    CertificatePlan,
    CertificateRequest,
    plan_certificate,
)
from brainformer.search.studies.certificate_result import CertificateResult, certificate_result
from brainformer.search.studies.plan import StudyKind


def create_certificate(
    tx: Transaction,
    named: str,
    request: CertificateRequest,
    *,
    pool: str | None,
    out: OutOfWork,
    actor: Actor,
) -> SearchRecord:
    """Creates a certificate of a search's proxy and queues its runs.

    Raises:
        NotFound: there is no such search.
        Conflict: no pool of the search has a rival yet, or it does not know the one named.
        InvalidSpec: there are too few candidates for so many blocks.
    """
    parent = find_parent(tx, named)
    spec = read_spec(parent.spec)
    ready = ready_pool(tx, parent, pool, out.retired)
    fittest = best_candidates(tx, parent.id, MOST_CANDIDATES)
    candidates = [
        (row.number, read_genome(row.genome)) for row in fittest if row.pool == ready.pool
    ]
    rival = rival_of(ready, spec).genome
    plan, planned = plan_certificate(request, candidates, rival, known_proxy(parent), ready.pool)
    return create_study(tx, parent, StudyKind.CERTIFICATE, plan, planned, actor=actor)


def certificates_of(tx: Transaction, named: str) -> list[CertificateRecord]:
    """Returns the certificates of a search, newest first, with what they show so far."""
    return [_certificate(tx, row) for row in studies_of(tx, named, StudyKind.CERTIFICATE)]


def _certificate(tx: Transaction, row: SearchRow) -> CertificateRecord:
    plan = CertificatePlan.model_validate_json(row.plan or "{}")
    return CertificateRecord(
        study=to_record(tx, row),
        pool=read_spec(row.spec).pools[0],
        request=plan.request,
        result=_result(tx, row, plan),
    )


def _result(tx: Transaction, row: SearchRow, plan: CertificatePlan) -> CertificateResult:
    runs = tx.all(RunRow, RUNS, {"search": row.id})
    ends = [how_ended(run) for run in runs]
    losses = tuple(None if one is None else one.loss for one in ends)
    steps = [lean_measurements(run.measurements).steps for run in runs]
    return certificate_result(
        plan,
        losses,
        tuple(None if loss is None else n for n, loss in zip(steps, losses, strict=True)),
        tuple(one is not None and one.tells for one in ends),
        sum(one is not None for one in ends),
    )
