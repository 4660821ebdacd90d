"""Studies in SQL: searches without proposals, listed below the search that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel
from sqlalchemy import func, select, update

from brainformer.search.errors import Conflict
from brainformer.search.spec import Limits
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import searches, trials
from brainformer.search.sql.rows.table_rows import SearchRow, TrialRow
from brainformer.search.sql.rows.values import read_genome, read_measurements, read_spec
from brainformer.search.sql.searches import create, find, to_record
from brainformer.search.sql.trials.baselines import baseline_rows, is_complete, rival_of
from brainformer.search.sql.trials.completion import best_candidates
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.finalists import DIVERGED
from brainformer.search.sql.trials.state import lock_search
from brainformer.search.store.actor import Actor
from brainformer.search.store.records import CertificateRecord, SearchRecord
from brainformer.search.studies.certificate import (
    CertificatePlan,
    CertificateRequest,
    plan_certificate,
)
from brainformer.search.studies.certificate_result import CertificateResult, certificate_result
from brainformer.search.studies.plan import PlannedRun, StudyKind
from brainformer.search.trials.trial import OPEN, TrialKind, TrialStatus

LONGEST_NAME = 40  # of the search that a study is named after
MOST_CANDIDATES = 1000  # of which a certificate's blocks are chosen


def create_certificate(
    tx: Transaction, named: str, request: CertificateRequest, *, pool: str | None, actor: Actor
) -> SearchRecord:
    """Creates a certificate of a search's proxy and queues its runs.

    Raises:
        NotFound: there is no such search.
        Conflict: no pool of the search has a rival yet, or it does not know the one named.
        InvalidSpec: there are too few candidates for so many blocks.
    """
    parent = find(tx, named)
    spec = read_spec(parent.spec)
    ready = {row.pool: row for row in baseline_rows(tx, parent.id) if is_complete(row)}
    own = _pool(parent, ready.keys(), pool)
    fittest = best_candidates(tx, parent.id, MOST_CANDIDATES)
    candidates = [(row.number, read_genome(row.genome)) for row in fittest if row.pool == own]
    rival = rival_of(ready[own], spec).genome
    proxy = spec.proxy.model_copy(update={"dataset_hash": parent.dataset_hash})
    plan, planned = plan_certificate(request, candidates, rival, proxy, own)
    return create_study(tx, parent, StudyKind.CERTIFICATE, plan, planned, actor=actor)


def _pool(parent: SearchRow, ready: Iterable[str], wanted: str | None) -> str:
    """Returns the pool that a study runs on."""
    known = sorted(ready)
    if not known:
        raise Conflict(f"no pool of search {parent.id} has a complete baseline yet; wait for it")
    if wanted is None:
        return known[0]
    if wanted not in known:
        raise Conflict(
            f"search {parent.id} has no baseline on pool {wanted}; it has one on {', '.join(known)}"
        )
    return wanted


def create_study(
    tx: Transaction,
    parent: SearchRow,
    kind: StudyKind,
    plan: BaseModel,
    planned: Sequence[PlannedRun],
    *,
    actor: Actor,
) -> SearchRecord:
    """Creates a study below its search and queues its runs, in order."""
    spec = read_spec(parent.spec)
    siblings = select(func.count()).where(
        searches.c.parent_id == parent.id, searches.c.kind == kind.value
    )
    place = int(tx.run(siblings).scalar_one()) + 1
    own = spec.model_copy(
        update={
            "name": f"{parent.name[:LONGEST_NAME]}-{kind.value}-{place}",
            "pools": tuple(sorted({run.pool for run in planned})),
            "limits": Limits(trials=max(1, len(planned))),
            "proxy": spec.proxy.model_copy(update={"dataset_hash": parent.dataset_hash}),
        }
    )
    made = create(tx, own, actor=actor, idempotency_key=None)
    values = {"kind": kind.value, "parent_id": parent.id, "plan": plan.model_dump_json()}
    tx.run(update(searches).where(searches.c.id == made.id).values(values))
    queue_runs(tx, made.id, kind, planned)
    return to_record(tx, find(tx, made.id))


def queue_runs(
    tx: Transaction, study_id: str, kind: StudyKind, planned: Sequence[PlannedRun]
) -> None:
    """Queues runs of a study, numbered in order."""
    state = lock_search(tx, study_id)
    for run in planned:
        new_trial(
            tx,
            state,
            TrialKind(kind.value),
            run.genome,
            pool=run.pool,
            origin=kind.value,
            repeat=run.repeat,
            proxy=run.proxy,
            label=run.label,
        )
    state.save()


def studies_of(tx: Transaction, named: str, kind: StudyKind) -> list[SearchRow]:
    """Returns the studies of a search, newest first."""
    parent = find(tx, named)
    return tx.all(
        SearchRow,
        select(searches)
        .where(searches.c.parent_id == parent.id, searches.c.kind == kind.value)
        .order_by(searches.c.ordinal.desc()),
    )


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
    runs = tx.all(
        TrialRow,
        select(trials).where(trials.c.search_id == row.id).order_by(trials.c.number),
    )
    measured = [read_measurements(run.measurements) for run in runs]
    completed = [run.status == TrialStatus.COMPLETED.value for run in runs]
    return certificate_result(
        plan,
        tuple(m.validation_loss if ok else None for m, ok in zip(measured, completed, strict=True)),
        tuple(m.steps if ok else None for m, ok in zip(measured, completed, strict=True)),
        tuple(ok or run.outcome in DIVERGED for run, ok in zip(runs, completed, strict=True)),
        sum(run.status not in OPEN for run in runs),
    )
