"""The end of an attempt: its result recorded, once, with what follows from it."""

from __future__ import annotations

import hashlib

from sqlalchemy import bindparam, update

from brainformer.search.errors import LeaseLost
from brainformer.search.sql.connection.database import Transaction, Values
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.trials.attempts import (
    HANDED_BACK,
    cancelled,
    end_attempt,
    lease_lost,
    refuse,
    same_report,
)
from brainformer.search.sql.trials.baselines import baseline_ended, pool_baseline
from brainformer.search.sql.trials.cancellation import cancel_open
from brainformer.search.sql.trials.completion import advance, choose_best
from brainformer.search.sql.trials.front import join_front
from brainformer.search.sql.trials.state import SearchState, lock_held_trial
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import Receipt, Result
from brainformer.search.trials.lease_rules import Settlement, check_result, settle
from brainformer.search.trials.trial import (
    Measurements,
    Outcome,
    TrialKind,
    TrialStatus,
)

OF_ATTEMPT = update(trials).where(
    trials.c.id == bindparam("key"),
    trials.c.status == TrialStatus.RUNNING.value,
    trials.c.attempt == bindparam("running"),
)


def record_result(tx: Transaction, lease: LeaseId, result: Result) -> Receipt | LeaseLost:
    """Records a result; a refused one is kept for audit and returned, so that it commits."""
    check_result(result)
    report = hashlib.sha256(result.model_dump_json().encode()).hexdigest()
    state, row, held = lock_held_trial(tx, lease)
    if not held:
        return refuse(tx, row, lease, result, report)
    settled = settlement(tx, state, row, result.outcome, result.measurements, result.message)
    finish(tx, state, row, settled, result.measurements)
    end_attempt(tx, row, settled, report=report, traceback=result.traceback)
    tx.saw(row.worker_id, finished=1)
    advance(tx, state)
    state.save()
    return Receipt(
        trial_id=lease.trial_id,
        attempt=lease.attempt,
        status=settled.status.value,
        fitness=settled.fitness,
    )


def settlement(
    tx: Transaction,
    state: SearchState,
    row: TrialRow,
    outcome: Outcome,
    measured: Measurements,
    message: str,
) -> Settlement:
    """Returns what becomes of a running trial whose attempt has ended."""
    kind = TrialKind(row.kind)
    judged = outcome is Outcome.COMPLETED and kind is not TrialKind.BASELINE
    return settle(
        state.spec,
        pool_baseline(tx, state.id, row.pool) if judged else None,
        kind,
        outcome=outcome,
        measured=measured,
        message=message,
        tries=row.tries,
        stopping=state.status is SearchStatus.STOPPING,
    )


def finish(
    tx: Transaction,
    state: SearchState,
    row: TrialRow,
    settled: Settlement,
    measured: Measurements,
) -> None:
    """Writes how an attempt of a running trial ended: trial, counters and event.

    The caller holds search and trial, so (running, attempt) still stands; the update compares
    again and would find nothing otherwise.
    """
    state.move(TrialStatus.RUNNING, settled.status)
    values: dict[str, object] = {
        "seq": state.take_seq(),
        "status": settled.status.value,
        "outcome": settled.outcome.value,
        "message": storable(settled.message),
        "lease_expires_at": None,
    }
    if settled.status is TrialStatus.QUEUED:
        values |= _queued_again(row)
    else:
        values |= _ended(tx, state, row, settled, measured)
    _compare_and_set(tx, row, values)
    _emit_end(tx, state, row, settled)
    if settled.status is TrialStatus.COMPLETED and row.kind == TrialKind.CANDIDATE.value:
        best = state.best_fitness
        better = settled.fitness is not None and (best is None or settled.fitness > best)
        if better and not state.best_repeats:  # fresh runs are not beaten by a lucky single one
            state.set(best_number=row.number, best_fitness=settled.fitness)
        join_front(tx, row, settled.fitness, measured)
    if row.kind == TrialKind.CONFIRMATION.value and settled.status is not TrialStatus.QUEUED:
        choose_best(tx, state)  # one figure for the best, while the race goes on, too
    if row.kind == TrialKind.BASELINE.value:
        baseline_ended(tx, state, row, settled)


def _compare_and_set(tx: Transaction, row: TrialRow, values: Values) -> None:
    changed = tx.run(OF_ATTEMPT, {"key": row.id, "running": row.attempt, **values})
    if changed.rowcount != 1:
        raise LeaseLost(row.id, row.attempt, "it changed meanwhile")


def _queued_again(row: TrialRow) -> dict[str, object]:
    """Returns the columns of a trial that waits for its next attempt.

    A candidate may run anywhere: the pool that it was lost on may be gone for good.
    """
    anywhere = row.kind == TrialKind.CANDIDATE.value
    return {
        "pool": None if anywhere else row.pool,
        "points": None,
        "step_time_ms": None,
        "worker_id": None,
        "started_at": None,
    }


def _ended(
    tx: Transaction, state: SearchState, row: TrialRow, settled: Settlement, measured: Measurements
) -> dict[str, object]:
    values: dict[str, object] = {
        "finished_at": tx.now,
        "fitness": settled.fitness,
        # The curve up to where a failed attempt got.
        "points": None if measured.curve else row.points,
        "measurements": measured.model_dump_json(exclude_none=True, exclude_defaults=True),
        "step_time_ms": measured.step_time_ms,
    }
    if measured.parameters is not None:
        values["parameters"] = measured.parameters
    if measured.activated_parameters is not None:
        values["activated_parameters"] = measured.activated_parameters
    if row.kind == TrialKind.CANDIDATE.value:
        state.add(candidates_open=-1)
        if settled.status in {TrialStatus.COMPLETED, TrialStatus.PRUNED}:
            values["finished_rank"] = state.candidates_finished
            state.add(candidates_finished=1)
    return values


def _emit_end(tx: Transaction, state: SearchState, row: TrialRow, settled: Settlement) -> None:
    again = settled.status is TrialStatus.QUEUED
    tx.emit(
        EventKind.TRIAL_REQUEUED if again else EventKind.TRIAL_FINISHED,
        state.id,
        number=row.number,
        kind_of_trial=row.kind,
        status=settled.status.value,
        outcome=settled.outcome.value,
        fitness=settled.fitness,
        attempt=row.attempt,
        seq=state.trial_seq,
    )


def put_back(
    tx: Transaction, state: SearchState, row: TrialRow, why: str, *, report: str | None = None
) -> None:
    """Queues a running trial again without counting the attempt, whose number is used up."""
    state.move(TrialStatus.RUNNING, TrialStatus.QUEUED)
    values = _queued_again(row) | {
        "seq": state.take_seq(),
        "status": TrialStatus.QUEUED.value,
        "tries": max(0, row.tries - 1),
        "lease_expires_at": None,
    }
    _compare_and_set(tx, row, values)
    end_attempt(tx, row, cancelled(why), report=report)
    tx.emit(
        EventKind.TRIAL_REQUEUED,
        state.id,
        number=row.number,
        kind_of_trial=row.kind,
        status=TrialStatus.QUEUED.value,
        attempt=row.attempt,
        seq=state.trial_seq,
    )


def release_lease(tx: Transaction, lease: LeaseId) -> None:
    """Hands an unstarted lease back; the attempt is not counted, but its number is used up."""
    state, row, held = lock_held_trial(tx, lease)
    if not held:
        if same_report(tx, lease, HANDED_BACK) is None:
            raise lease_lost(row, lease)
        return  # asked for twice
    put_back(tx, state, row, "handed back unstarted", report=HANDED_BACK)
    tx.saw(row.worker_id)
    if state.status is SearchStatus.STOPPING:
        cancel_open(tx, state, "the search was stopped", statuses=(TrialStatus.QUEUED,))
    advance(tx, state)
    state.save()
