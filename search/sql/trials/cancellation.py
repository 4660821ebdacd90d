"""Open trials that are no longer wanted."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.trials.attempts import cancelled, end_attempt
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.trial import (
    OPEN,
    Outcome,
    TrialKind,
    TrialStatus,
)


def cancel_open(
    tx: Transaction,
    state: SearchState,
    message: str,
    *,
    statuses: Sequence[TrialStatus] = OPEN,
    kind: TrialKind | None = None,
    pool: str | None = None,
) -> None:
    """Cancels a search's open trials; who runs one learns it with the next report.

    Args:
        tx: Of the caller.
        state: The search.
        message: Why.
        statuses: Queued trials, running ones, or both.
        kind: Only of this kind.
        pool: Only of this pool.
    """
    wanted = select(trials).where(
        trials.c.search_id == state.id, trials.c.status.in_([one.value for one in statuses])
    )
    if kind is not None:
        wanted = wanted.where(trials.c.kind == kind.value)
    if pool is not None:
        wanted = wanted.where(trials.c.pool == pool)
    for row in tx.all(TrialRow, wanted.order_by(trials.c.number)):
        cancel_trial(tx, state, row, message)


def cancel_trial(tx: Transaction, state: SearchState, row: TrialRow, message: str) -> None:
    """Cancels one open trial."""
    state.move(TrialStatus(row.status), TrialStatus.CANCELLED)
    if row.kind == TrialKind.CANDIDATE.value:
        state.add(candidates_open=-1)
    values = {
        "seq": state.take_seq(),
        "status": TrialStatus.CANCELLED.value,
        "outcome": Outcome.CANCELLED.value,
        "message": message,
        "finished_at": tx.now,
        "lease_expires_at": None,
    }
    tx.change(trials, row.id, values)
    if row.status == TrialStatus.RUNNING.value:
        end_attempt(tx, row, cancelled(message))
    tx.emit(
        EventKind.TRIAL_FINISHED,
        state.id,
        number=row.number,
        kind_of_trial=row.kind,
        status=TrialStatus.CANCELLED.value,
        outcome=Outcome.CANCELLED.value,
        fitness=None,
        attempt=row.attempt,
        seq=state.trial_seq,
    )
