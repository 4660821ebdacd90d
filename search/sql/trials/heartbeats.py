"""Progress: extends the lease, keeps the point of the learning curve, judges the trial."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Double, bindparam, literal_column, update
from sqlalchemy.sql.dml import ReturningUpdate

from brainformer.search.errors import NotFound
from brainformer.search.sql.connection.clock import POSTGRES_CLOCK
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.trials.attempts import lease_lost, require_granted
from brainformer.search.sql.trials.baselines import pool_baseline
from brainformer.search.sql.trials.state import TRIAL, SearchState, lock_held_trial
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import GO_ON, Directive, Progress
from brainformer.search.trials.reward import HURDLE_FRACTION, directive
from brainformer.search.trials.trial import CurvePoint, Outcome, TrialKind, TrialStatus

MAX_POINTS = 256
HOLDS = (
    trials.c.id == bindparam("key"),
    trials.c.attempt == bindparam("holder"),
    trials.c.lease_key == bindparam("given"),
    trials.c.status == TrialStatus.RUNNING.value,
)


def _beat_at(now: ColumnElement[float]) -> ReturningUpdate[Any]:
    """Returns the statement that extends a lease from `now` on; it tells whose, and the time."""
    extended = update(trials).where(*HOLDS).values(lease_expires_at=now + trials.c.lease_seconds)
    return extended.returning(trials.c.worker_id, now.label("clock"))


BEAT = _beat_at(bindparam("now", type_=Double))
BEAT_BY_SERVER = _beat_at(literal_column(POSTGRES_CLOCK, Double))


def record_progress(tx: Transaction, lease: LeaseId, report: Progress) -> Directive:
    """Extends the lease and answers whether to go on."""
    if report.point is None:
        return _beat(tx, lease)
    state, row, held = lock_held_trial(tx, lease)
    if not held:
        return _gone(row, lease)
    tx.saw(row.worker_id)
    earlier = [CurvePoint.model_validate(one) for one in json.loads(row.points or "[]")]
    _keep_point(tx, state, row, earlier, report)
    state.save()
    # A point that comes again, its answer lost on the way, is judged as it was the first time.
    judged = any(
        one.fraction >= HURDLE_FRACTION and one.validation_loss is not None
        for one in earlier
        if one.step < report.point.step
    )
    return _judge(tx, state, row, report, report.point, judged=judged)


def _beat(tx: Transaction, lease: LeaseId) -> Directive:
    """Extends the lease alone; the search is not held, so that heartbeats wait for nobody."""
    holder: dict[str, object] = {
        "key": lease.trial_id,
        "holder": lease.attempt,
        "given": lease.key,
    }
    if tx.by_server:
        extended = tx.run(BEAT_BY_SERVER, holder).first()
    else:
        extended = tx.run(BEAT, {**holder, "now": tx.now}).first()
    if extended is not None:
        tx.tell_time(extended.clock)
        tx.saw(extended.worker_id)
        return GO_ON
    row = tx.first(TrialRow, TRIAL, {"key": lease.trial_id})
    if row is None:
        raise NotFound("trial", lease.trial_id)
    require_granted(tx, row, lease)
    return _gone(row, lease)


def _gone(row: TrialRow, lease: LeaseId) -> Directive:
    if row.status == TrialStatus.CANCELLED.value and row.attempt == lease.attempt:
        return Directive.stop(Outcome.CANCELLED, f"cancelled: {row.message}")
    raise lease_lost(row, lease)


def _keep_point(
    tx: Transaction, state: SearchState, row: TrialRow, earlier: list[CurvePoint], report: Progress
) -> None:
    point = report.point
    values: dict[str, object] = {"lease_expires_at": tx.now + row.lease_seconds}
    if point is not None and all(one.step != point.step for one in earlier):
        points = thinned([*earlier, point])
        values["points"] = json.dumps([one.model_dump(exclude_none=True) for one in points])
        values["seq"] = state.take_seq()
        if report.step_time_ms is not None:
            values["step_time_ms"] = report.step_time_ms
        tx.emit(
            EventKind.TRIAL_PROGRESS,
            state.id,
            number=row.number,
            seq=state.trial_seq,
            fraction=point.fraction,
            validation_loss=point.validation_loss,
        )
    tx.change(trials, row.id, values)


def thinned(points: list[CurvePoint]) -> list[CurvePoint]:
    """Returns a curve of bounded length: every other point of one that has grown too long.

    The first point behind the hurdle stays, for it says that the trial was judged.
    """
    if len(points) <= MAX_POINTS:
        return points
    judged = next(
        (
            one
            for one in points
            if one.fraction >= HURDLE_FRACTION and one.validation_loss is not None
        ),
        None,
    )
    return [one for index, one in enumerate(points) if index % 2 or one is judged]


def _judge(
    tx: Transaction,
    state: SearchState,
    row: TrialRow,
    report: Progress,
    point: CurvePoint,
    *,
    judged: bool,
) -> Directive:
    if row.kind != TrialKind.CANDIDATE.value:
        return GO_ON
    baseline = pool_baseline(tx, state.id, row.pool)
    if baseline is None:
        return GO_ON
    return directive(
        state.spec,
        baseline,
        point,
        judged=judged,
        step_time_ms=report.step_time_ms,
        inference_time_ms=report.inference_time_ms,
    )
