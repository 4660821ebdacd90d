"""The end of an attempt: result, expiry, release and cancellation, each by compare-and-set."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import and_, bindparam, insert, or_, select, update

from search.errors import LeaseLost, NotFound
from search.lease import Receipt, Result
from search.leases import Settlement, check_result, parse_lease_id, settle
from search.spec import SearchStatus
from search.sql.baselines import pool_baseline, refresh_baseline
from search.sql.conclusion import conclude
from search.sql.database import Transaction
from search.sql.front import join_front
from search.sql.rows import ENDED
from search.sql.state import SearchState, lock_search
from search.tables import attempts, searches, trials, workers
from search.trial import Measurements, Outcome, TrialKind, TrialStatus

TRIAL = select(trials).where(trials.c.id == bindparam("key"))
OWNER = select(trials.c.search_id).where(trials.c.id == bindparam("key"))
SAME_REPORT = select(attempts).where(
    attempts.c.trial_id == bindparam("trial"),
    attempts.c.attempt == bindparam("number"),
    attempts.c.report_hash == bindparam("hash"),
)
ATTEMPT = (
    update(attempts)
    .where(
        attempts.c.trial_id == bindparam("trial"),
        attempts.c.attempt == bindparam("number"),
        attempts.c.finished_at.is_(None),
    )
    .values(
        outcome=bindparam("outcome"),
        accepted=bindparam("accepted"),
        message=bindparam("message"),
        traceback=bindparam("traceback"),
        report_hash=bindparam("report_hash"),
        receipt_status=bindparam("receipt_status"),
        receipt_fitness=bindparam("receipt_fitness"),
        finished_at=bindparam("finished_at"),
    )
)
WORKER_DONE = (
    update(workers)
    .where(workers.c.worker_id == bindparam("worker"))
    .values(
        running=workers.c.running - 1,
        finished=workers.c.finished + bindparam("counted"),
        last_seen=bindparam("seen"),
    )
)
WORKER_LEFT = (
    update(workers)
    .where(workers.c.worker_id == bindparam("worker"))
    .values(running=workers.c.running - 1)
)
REAP_BATCH = 500


def record_result(tx: Transaction, lease_id: str, result: Result) -> Receipt | LeaseLost:
    """Records a result; a refused one is kept for audit and returned, so that it commits."""
    trial_id, attempt = parse_lease_id(lease_id)
    check_result(result)
    report = hashlib.sha256(result.model_dump_json().encode()).hexdigest()
    state = lock_search(tx, _owner(tx, trial_id))
    row = tx.run(TRIAL, {"key": trial_id}).one()
    if row.status != TrialStatus.RUNNING.value or row.attempt != attempt:
        return _refused(tx, row, attempt, result, report)
    settled = _settled(tx, state, row, result.outcome, result.measurements, result.message)
    finish(tx, state, row, settled, result.measurements, report=report, traceback=result.traceback)
    tx.run(WORKER_DONE, {"worker": row.worker_id, "counted": 1, "seen": tx.now})
    conclude(tx, state)
    state.save()
    return Receipt(
        trial_id=trial_id, attempt=attempt, status=settled.status.value, fitness=settled.fitness
    )


def _owner(tx: Transaction, trial_id: int) -> str:
    search_id = tx.run(OWNER, {"key": trial_id}).scalar()
    if search_id is None:
        raise NotFound("trial", trial_id)
    return str(search_id)


def _settled(
    tx: Transaction,
    state: SearchState,
    row: Any,
    outcome: Outcome,
    measured: Measurements,
    message: str,
) -> Settlement:
    kind = TrialKind(row.kind)
    judged = outcome is Outcome.COMPLETED and kind is not TrialKind.BASELINE
    baseline = pool_baseline(tx, state.id, row.pool) if judged else None
    return settle(
        state.spec,
        baseline,
        kind,
        outcome=outcome,
        measured=measured,
        message=message,
        tries=row.tries,
    )


def _refused(
    tx: Transaction, row: Any, attempt: int, result: Result, report: str
) -> Receipt | LeaseLost:
    same = tx.run(SAME_REPORT, {"trial": row.id, "number": attempt, "hash": report}).first()
    if same is not None and same.accepted:
        return Receipt(
            trial_id=row.id,
            attempt=attempt,
            status=same.receipt_status,
            fitness=same.receipt_fitness,
            duplicate=True,
        )
    if attempt > row.attempt:
        raise NotFound("lease", f"{row.id}-{attempt}")
    if row.attempt != attempt:
        why = f"attempt {row.attempt} holds it now" if row.status == "running" else "it went on"
    else:
        why = f"it is {row.status}"
    if same is None:
        _keep_refused(tx, row, attempt, result, report, why)
    return LeaseLost(row.id, attempt, why)


def _keep_refused(
    tx: Transaction, row: Any, attempt: int, result: Result, report: str, why: str
) -> None:
    first = tx.run(
        select(attempts)
        .where(attempts.c.trial_id == row.id, attempts.c.attempt == attempt)
        .order_by(attempts.c.id)
        .limit(1)
    ).first()
    if first is None:
        return
    values = {
        "trial_id": row.id,
        "attempt": attempt,
        "worker_id": first.worker_id,
        "pool": first.pool,
        "outcome": result.outcome.value,
        "accepted": False,
        "message": f"refused, {why}: {result.message}".rstrip(": "),
        "traceback": result.traceback,
        "report_hash": report,
        "started_at": first.started_at,
        "finished_at": tx.now,
    }
    tx.run(insert(attempts), values)
    tx.emit("trial.refused", row.search_id, number=row.number, attempt=attempt, reason=why)


def finish(
    tx: Transaction,
    state: SearchState,
    row: Any,
    settled: Settlement,
    measured: Measurements,
    *,
    report: str | None = None,
    traceback: str = "",
) -> None:
    """Writes how an attempt of a running trial ended: trial, attempt, counters and event.

    The caller holds the search, and `row` was read under that hold, so (running, attempt) still
    stands; the update compares again and would find nothing otherwise.
    """
    values = _trial_values(tx, state, row, settled, measured)
    changed = tx.run(
        update(trials)
        .where(
            trials.c.id == row.id,
            trials.c.status == TrialStatus.RUNNING.value,
            trials.c.attempt == row.attempt,
        )
        .values(values)
    )
    if changed.rowcount != 1:
        raise LeaseLost(row.id, row.attempt, "it changed meanwhile")
    tx.run(
        ATTEMPT,
        {
            "trial": row.id,
            "number": row.attempt,
            "outcome": settled.outcome.value,
            "accepted": report is not None,
            "message": settled.message,
            "traceback": traceback,
            "report_hash": report,
            "receipt_status": settled.status.value,
            "receipt_fitness": settled.fitness,
            "finished_at": tx.now,
        },
    )
    _follow_up(tx, state, row, settled, measured)


def _trial_values(
    tx: Transaction, state: SearchState, row: Any, settled: Settlement, measured: Measurements
) -> dict[str, Any]:
    state.move(TrialStatus.RUNNING.value, settled.status.value)
    values: dict[str, Any] = {
        "seq": state.next_seq(),
        "status": settled.status.value,
        "outcome": settled.outcome.value,
        "message": settled.message,
        "lease_expires_at": None,
    }
    if settled.status is TrialStatus.QUEUED:
        return values | {"points": None, "worker_id": None, "started_at": None}
    values["finished_at"] = tx.now
    values["fitness"] = settled.fitness
    if not measured.curve and row.points is not None:
        values["points"] = row.points  # the curve up to where a failed attempt got
    else:
        values["points"] = None
    values["measurements"] = measured.model_dump_json(exclude_none=True, exclude_defaults=True)
    values["step_time_ms"] = measured.step_time_ms
    if measured.parameters is not None:
        values["parameters"] = measured.parameters
    if measured.activated_parameters is not None:
        values["activated_parameters"] = measured.activated_parameters
    if row.kind == TrialKind.CANDIDATE.value:
        state.add(candidates_open=-1)
        if settled.status in {TrialStatus.COMPLETED, TrialStatus.PRUNED}:
            values["finished_rank"] = state["candidates_finished"]
            state.add(candidates_finished=1)
    return values


def _follow_up(
    tx: Transaction, state: SearchState, row: Any, settled: Settlement, measured: Measurements
) -> None:
    kind = "trial.requeued" if settled.status is TrialStatus.QUEUED else "trial.finished"
    tx.emit(
        kind,
        state.id,
        number=row.number,
        kind_of_trial=row.kind,
        status=settled.status.value,
        outcome=settled.outcome.value,
        fitness=settled.fitness,
        attempt=row.attempt,
        seq=state["trial_seq"],
    )
    if settled.status is TrialStatus.COMPLETED and row.kind == TrialKind.CANDIDATE.value:
        best = state["best_fitness"]
        if settled.fitness is not None and (best is None or settled.fitness > best):
            state.set(best_number=row.number, best_fitness=settled.fitness)
        join_front(tx, row, settled.fitness, measured.step_time_ms)
    if row.kind == TrialKind.BASELINE.value and settled.status is not TrialStatus.QUEUED:
        _baseline_ended(tx, state, row, settled)


def _baseline_ended(tx: Transaction, state: SearchState, row: Any, settled: Settlement) -> None:
    if settled.status is TrialStatus.COMPLETED:
        refresh_baseline(tx, state, row.pool)
        return
    if settled.status is TrialStatus.CANCELLED or state.status.value in ENDED:
        return
    why = f" ({settled.message})" if settled.message else ""
    fail_search(
        tx,
        state,
        f"the baseline's trial {row.number} on pool {row.pool} ended as {settled.outcome.value}"
        f"{why}; without a baseline there is no fitness",
    )


def fail_search(tx: Transaction, state: SearchState, reason: str) -> None:
    """Ends the search as failed and cancels what is left of it."""
    state.enter(SearchStatus.FAILED, reason)
    cancel_open(tx, state, message="the search failed")


def cancel_open(tx: Transaction, state: SearchState, *, message: str, running: bool = True) -> None:
    """Cancels queued trials, and running ones too if `running`."""
    wanted = [TrialStatus.QUEUED.value] + ([TrialStatus.RUNNING.value] if running else [])
    found = tx.run(
        select(trials).where(trials.c.search_id == state.id, trials.c.status.in_(wanted))
    ).all()
    for row in found:
        state.move(row.status, TrialStatus.CANCELLED.value)
        if row.kind == TrialKind.CANDIDATE.value:
            state.add(candidates_open=-1)
        values = {
            "seq": state.next_seq(),
            "status": TrialStatus.CANCELLED.value,
            "outcome": Outcome.CANCELLED.value,
            "message": message,
            "finished_at": tx.now,
            "lease_expires_at": None,
        }
        tx.run(update(trials).where(trials.c.id == row.id).values(values))
        if row.status == TrialStatus.RUNNING.value:
            _close_attempt(tx, row, Outcome.CANCELLED, message)
        tx.emit("trial.finished", state.id, number=row.number, status="cancelled", fitness=None)


def _close_attempt(tx: Transaction, row: Any, outcome: Outcome, message: str) -> None:
    tx.run(
        ATTEMPT,
        {
            "trial": row.id,
            "number": row.attempt,
            "outcome": outcome.value,
            "accepted": False,
            "message": message,
            "traceback": "",
            "report_hash": None,
            "receipt_status": None,
            "receipt_fitness": None,
            "finished_at": tx.now,
        },
    )
    tx.run(WORKER_LEFT, {"worker": row.worker_id})


def release_lease(tx: Transaction, lease_id: str) -> None:
    """Hands an unstarted lease back; the attempt is not counted, but its number is used up."""
    trial_id, attempt = parse_lease_id(lease_id)
    state = lock_search(tx, _owner(tx, trial_id))
    row = tx.run(TRIAL, {"key": trial_id}).one()
    if row.status != TrialStatus.RUNNING.value or row.attempt != attempt:
        raise LeaseLost(trial_id, attempt, f"it is {row.status} at attempt {row.attempt}")
    state.move(TrialStatus.RUNNING.value, TrialStatus.QUEUED.value)
    values = {
        "seq": state.next_seq(),
        "status": TrialStatus.QUEUED.value,
        "tries": row.tries - 1,
        "worker_id": None,
        "started_at": None,
        "lease_expires_at": None,
        "points": None,
    }
    tx.run(update(trials).where(trials.c.id == trial_id).values(values))
    _close_attempt(tx, row, Outcome.CANCELLED, "handed back unstarted")
    tx.emit("trial.requeued", state.id, number=row.number, attempt=attempt, status="queued")
    if state.status is SearchStatus.STOPPING:
        cancel_open(tx, state, message="the search was stopped", running=False)
    conclude(tx, state)
    state.save()


LAPSED = (
    select(trials)
    .where(
        trials.c.status == TrialStatus.RUNNING.value,
        or_(
            trials.c.lease_expires_at < bindparam("now"),
            # Further ahead than any lease is granted: the clock was set back meanwhile.
            and_(trials.c.lease_expires_at > bindparam("now") + trials.c.lease_seconds + 1.0),
        ),
    )
    .order_by(trials.c.lease_expires_at)
    .limit(REAP_BATCH)
)


def reap_expired(tx: Transaction, held: dict[str, SearchState] | None = None) -> int:
    """Requeues or fails trials whose lease has expired; returns how many.

    Args:
        held: Searches that the caller holds already; others are taken in a fixed order.
    """
    lapsed = tx.run(LAPSED, {"now": tx.now}).all()
    if not lapsed:
        return 0
    if held is None:
        ids = {row.search_id for row in lapsed}
        ordered = tx.run(
            select(searches.c.id).where(searches.c.id.in_(ids)).order_by(searches.c.ordinal)
        ).scalars()
        states = {search_id: lock_search(tx, search_id) for search_id in ordered.all()}
    else:
        states = held
    count = 0
    for search_id, state in states.items():
        mine = [row for row in lapsed if row.search_id == search_id]
        count += sum(_reap_one(tx, state, row.id) for row in mine)
        if mine:
            conclude(tx, state)
            state.save()
    return count


def _reap_one(tx: Transaction, state: SearchState, trial_id: int) -> int:
    row = tx.run(TRIAL, {"key": trial_id}).one_or_none()
    if row is None or row.status != TrialStatus.RUNNING.value:
        return 0  # ended while this transaction waited
    if row.lease_expires_at > tx.now:
        ahead = row.lease_expires_at > tx.now + row.lease_seconds + 1.0
        if ahead:
            again = {"lease_expires_at": tx.now + row.lease_seconds}
            tx.run(update(trials).where(trials.c.id == trial_id).values(again))
        return 0
    message = f"no heartbeat from {row.worker_id} for {row.lease_seconds:g} s"
    settled = _settled(tx, state, row, Outcome.EXPIRED, Measurements(), message)
    if state.status is SearchStatus.STOPPING and settled.status is TrialStatus.QUEUED:
        settled = Settlement(TrialStatus.CANCELLED, Outcome.EXPIRED, None, message)
    finish(tx, state, row, settled, Measurements())
    tx.run(WORKER_LEFT, {"worker": row.worker_id})
    return 1
