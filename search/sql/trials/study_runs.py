"""Runs of a study: queued as planned, and for a promotion those that follow from what has ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import bindparam, select

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.values import lean_measurements
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.finalists import DIVERGED
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.studies.plan import PlannedRun
from brainformer.search.studies.promotion import PromotionPlan
from brainformer.search.studies.promotion_stages import Ended, next_runs, planned_run
from brainformer.search.trials.trial import OPEN, TrialKind, TrialStatus


class RunRow(NamedTuple):
    """What is read of a run: how it stands, and what it measured."""

    status: str
    outcome: str | None
    measurements: str | None


RUNS = (
    select(trials.c.status, trials.c.outcome, trials.c.measurements)
    .where(trials.c.search_id == bindparam("search"))
    .order_by(trials.c.number)
)


@lru_cache(maxsize=32)
def read_plan(text: str) -> PromotionPlan:
    """Returns a stored plan; kept, since every result of its runs looks at it."""
    return PromotionPlan.model_validate_json(text)


def queue_runs(tx: Transaction, state: SearchState, planned: Sequence[PlannedRun]) -> None:
    """Queues runs of a study, numbered in order."""
    for run in planned:
        new_trial(
            tx,
            state,
            TrialKind(state.kind),
            run.genome,
            pool=run.pool,
            origin=state.kind,
            repeat=run.repeat,
            proxy=run.proxy,
            label=run.label,
        )


def queue_next_runs(tx: Transaction, state: SearchState) -> None:
    """Queues what follows in a promotion from the runs that have ended."""
    if state.plan is None:
        return
    plan = read_plan(state.plan)
    if plan.is_whole:  # as during most of a promotion: its runs need not be read
        return
    rows = tx.all(RunRow, RUNS, {"search": state.id})
    further = next_runs(plan, [how_ended(row) for row in rows])
    if further:
        queue_runs(tx, state, [planned_run(plan, run) for run in further])
        state.set(plan=plan.with_runs(further).model_dump_json())


def how_ended(row: RunRow) -> Ended | None:
    """Returns how a run ended; None while it is open."""
    if row.status in OPEN:
        return None
    if row.status == TrialStatus.COMPLETED.value:
        return Ended(lean_measurements(row.measurements).validation_loss)
    return Ended(None, row.outcome in DIVERGED)
