"""The attempts of a trial: begun, ended once, and what arrived too late kept beside them."""

from __future__ import annotations

from sqlalchemy import bindparam, func, insert, select, update

from brainformer.search.errors import LeaseLost, NotFound
from brainformer.search.sql.connection.database import Transaction, Values
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import attempts
from brainformer.search.sql.rows.table_rows import AttemptRow, TrialRow
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import Receipt, Result
from brainformer.search.trials.lease_rules import Settlement
from brainformer.search.trials.trial import Outcome, TrialStatus

REFUSED_KEPT = 16  # late reports of one attempt, all different, that are kept for audit
HANDED_BACK = "released"  # stands in place of a report's hash
SAME_REPORT = select(attempts).where(
    attempts.c.trial_id == bindparam("trial"),
    attempts.c.attempt == bindparam("number"),
    attempts.c.lease_key == bindparam("given"),
    attempts.c.report_hash == bindparam("hash"),
)
GRANTED = select(attempts.c.id).where(
    attempts.c.trial_id == bindparam("trial"),
    attempts.c.attempt == bindparam("number"),
    attempts.c.lease_key == bindparam("given"),
)
BEGIN = insert(attempts)
END = update(attempts).where(
    attempts.c.trial_id == bindparam("trial"),
    attempts.c.attempt == bindparam("number"),
    attempts.c.finished_at.is_(None),
)


def begin_attempt(tx: Transaction, lease: LeaseId, *, worker_id: str, pool: str) -> None:
    """Adds an attempt that starts now."""
    values = {
        "trial_id": lease.trial_id,
        "attempt": lease.attempt,
        "lease_key": lease.key,
        "worker_id": worker_id,
        "pool": pool,
        "started_at": tx.now,
    }
    tx.run(BEGIN, values)


def end_attempt(
    tx: Transaction,
    row: TrialRow,
    settled: Settlement,
    *,
    report: str | None = None,
    traceback: str = "",
) -> None:
    """Writes how the present attempt of a trial ended.

    Args:
        tx: Of the caller.
        row: The trial's.
        settled: What becomes of the trial.
        report: Hash of the worker's report; None if the controller ended the attempt.
        traceback: From the worker.
    """
    values = {
        "trial": row.id,
        "number": row.attempt,
        "outcome": settled.outcome.value,
        "accepted": report not in {None, HANDED_BACK},
        "message": storable(settled.message),
        "traceback": storable(traceback),
        "report_hash": report,
        "receipt_status": settled.status.value,
        "receipt_fitness": settled.fitness,
        "finished_at": tx.now,
    }
    tx.run(END, values)


def same_report(tx: Transaction, lease: LeaseId, report: str) -> AttemptRow | None:
    """Returns the attempt's row that this very report has written before, None if none."""
    return tx.first(AttemptRow, SAME_REPORT, {**_named(lease), "hash": report})


def require_granted(tx: Transaction, row: TrialRow, lease: LeaseId) -> None:
    """Returns if this database has granted the lease, be it held or lost.

    Raises:
        NotFound: it has not: the lease is made up, or of a history that was undone since.
    """
    if (lease.attempt, lease.key) == (row.attempt, row.lease_key):
        return
    if tx.run(GRANTED, _named(lease)).first() is None:
        raise NotFound("lease", lease)


def _named(lease: LeaseId) -> Values:
    return {"trial": lease.trial_id, "number": lease.attempt, "given": lease.key}


def refuse(
    tx: Transaction, row: TrialRow, lease: LeaseId, result: Result, report: str
) -> Receipt | LeaseLost:
    """Returns the receipt of a report that was recorded before, or why it comes too late.

    The error is returned, not raised, so that what is kept for audit commits.
    """
    same = same_report(tx, lease, report)
    if same is not None and same.accepted:
        return Receipt(
            trial_id=lease.trial_id,
            attempt=lease.attempt,
            status=same.receipt_status or "",
            fitness=same.receipt_fitness,
            duplicate=True,
        )
    lost = lease_lost(row, lease)
    if same is None:
        _keep(tx, row, lease, result, report, lost)
    return lost


def lease_lost(row: TrialRow, lease: LeaseId) -> LeaseLost:
    """Returns the error that says who holds the trial instead."""
    if row.attempt == lease.attempt:
        why = f"it is {row.status}"
    elif row.status == TrialStatus.RUNNING.value:
        why = f"attempt {row.attempt} holds it now"
    else:
        why = f"it is {row.status} after attempt {row.attempt}"
    return LeaseLost(lease.trial_id, lease.attempt, why)


def _keep(
    tx: Transaction, row: TrialRow, lease: LeaseId, result: Result, report: str, lost: LeaseLost
) -> None:
    mine = (attempts.c.trial_id == lease.trial_id) & (attempts.c.attempt == lease.attempt)
    if tx.run(select(func.count()).where(mine)).scalar_one() > REFUSED_KEPT:
        return
    first = tx.one(AttemptRow, select(attempts).where(mine).order_by(attempts.c.id).limit(1))
    values = {
        "trial_id": lease.trial_id,
        "attempt": lease.attempt,
        "lease_key": lease.key,
        "worker_id": first.worker_id,
        "pool": first.pool,
        "outcome": result.outcome.value,
        "accepted": False,
        "message": storable(f"refused, {lost.message}: {result.message}".removesuffix(": ")),
        "traceback": storable(result.traceback),
        "report_hash": report,
        "started_at": first.started_at,
        "finished_at": tx.now,
    }
    tx.run(BEGIN, values)
    tx.emit(
        EventKind.TRIAL_REFUSED,
        row.search_id,
        number=row.number,
        attempt=lease.attempt,
        reason=lost.message,
    )


def cancelled(message: str) -> Settlement:
    """Returns the end of an attempt whose trial is no longer wanted."""
    return Settlement(TrialStatus.CANCELLED, Outcome.CANCELLED, None, message)
