"""Leases that expire: requeued or failed by whoever looks next, without a leader.

Every claim looks, and every controller from time to time. Looking twice finds nothing the second
time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, or_, select

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import RUNNING, searches, trials
from brainformer.search.sql.rows.table_rows import SearchRow
from brainformer.search.sql.rows.values import read_limits
from brainformer.search.sql.trials.attempts import end_attempt
from brainformer.search.sql.trials.completion import advance, limit_reached
from brainformer.search.sql.trials.endings import finish, settlement
from brainformer.search.sql.trials.state import (
    SearchState,
    lock_unfinished,
    read_trial,
)
from brainformer.search.status import SearchStatus
from brainformer.search.trials.trial import Measurements, Outcome, TrialStatus

BATCH = 500
CLOCK_SLACK_SECONDS = 1.0
LAPSED: ColumnElement[bool] = and_(
    trials.c.lease_expires_at < bindparam("now"),
    trials.c.lease_seconds <= bindparam("served_for"),
)
# Further ahead than any lease is granted: the clock was set back meanwhile.
AHEAD: ColumnElement[bool] = (
    trials.c.lease_expires_at > bindparam("now") + trials.c.lease_seconds + CLOCK_SLACK_SECONDS
)
_FIRST_DUE = (
    select(trials.c.id, trials.c.search_id)
    .where(RUNNING)
    .order_by(trials.c.lease_expires_at)
    .limit(BATCH)
)
LAPSED_TRIALS = _FIRST_DUE.where(LAPSED)  # the first of an index, however many run
DUE = _FIRST_DUE.where(or_(LAPSED, AHEAD))  # goes through all that run

AT_REST = select(searches).where(
    searches.c.status == SearchStatus.RUNNING.value,
    or_(searches.c.candidates_open == 0, searches.c.running == 0),
    ~searches.c.confirming,
)


class Due(NamedTuple):
    """A running trial whose lease is to be looked at."""

    id: int
    search_id: str


def reap(tx: Transaction) -> int:
    """Requeues or fails trials whose lease has expired; returns how many.

    Ends searches, too, whose hours ran out while no worker asked. What another controller holds
    at the moment is left to it.
    """
    ids = {due.search_id for due in due_trials(tx)} | set(_overdue(tx))
    if not ids:
        return 0
    states = lock_unfinished(tx, ids=sorted(ids), skip_locked=True)
    return reap_held(tx, states)


def reap_held(tx: Transaction, states: list[SearchState]) -> int:
    """Like `reap`, in searches that the caller holds."""
    held = {state.id: state for state in states}
    count = 0
    for due in due_trials(tx):
        if due.search_id in held:
            count += _reap_one(tx, held[due.search_id], due.id)
    for state in states:
        advance(tx, state)
        state.save()
    return count


def due_trials(tx: Transaction) -> list[Due]:
    """Returns running trials whose lease is to be looked at, a batch of them."""
    return _due(tx, DUE)


def searches_of_lapsed(tx: Transaction) -> list[str]:
    """Returns the searches with a lease that has expired; every claim asks it."""
    return sorted({due.search_id for due in _due(tx, LAPSED_TRIALS)})


def _due(tx: Transaction, statement: Select[Any]) -> list[Due]:
    return tx.all(Due, statement, {"now": tx.now, "served_for": tx.now - tx.serving_since})


def _overdue(tx: Transaction) -> list[str]:
    """Returns running searches that have reached their hours and in which nothing runs."""
    return [
        row.id
        for row in tx.all(SearchRow, AT_REST)
        if limit_reached(read_limits(row.spec), row, tx.now)
    ]


def _reap_one(tx: Transaction, state: SearchState, trial_id: int) -> int:
    row = read_trial(tx, trial_id)
    if row is None or row.status != TrialStatus.RUNNING.value:
        return 0  # ended while this transaction waited
    expires = row.lease_expires_at
    if expires is not None and expires >= tx.now:
        if expires > tx.now + row.lease_seconds + CLOCK_SLACK_SECONDS:
            granted = {"lease_expires_at": tx.now + row.lease_seconds}
            tx.change(trials, trial_id, granted)
        return 0
    message = f"no heartbeat from {row.worker_id} for {row.lease_seconds:g} s"
    settled = settlement(tx, state, row, Outcome.EXPIRED, Measurements(), message)
    finish(tx, state, row, settled, Measurements())
    end_attempt(tx, row, settled)
    return 1
