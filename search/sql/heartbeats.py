"""Progress: extends the lease, keeps the point of the learning curve, judges the trial."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import bindparam, update

from search.errors import LeaseLost, NotFound
from search.lease import Directive, Progress
from search.leases import parse_lease_id
from search.reward import GO_ON, HURDLE_FRACTION, directive
from search.spec import SearchStatus
from search.sql.baselines import pool_baseline
from search.sql.database import Transaction
from search.sql.endings import OWNER, TRIAL
from search.sql.state import SearchState, lock_search
from search.tables import trials, workers
from search.trial import TrialKind, TrialStatus

MAX_POINTS = 256
BEAT = (
    update(trials)
    .where(
        trials.c.id == bindparam("key"),
        trials.c.attempt == bindparam("number"),
        trials.c.status == TrialStatus.RUNNING.value,
    )
    .values(lease_expires_at=bindparam("now") + trials.c.lease_seconds)
)
SEEN = (
    update(workers)
    .where(workers.c.worker_id == bindparam("worker"))
    .values(last_seen=bindparam("now"))
)


def record_progress(tx: Transaction, lease_id: str, report: Progress) -> Directive:
    """Extends the lease and answers whether to go on."""
    trial_id, attempt = parse_lease_id(lease_id)
    if report.point is None:
        return _beat(tx, trial_id, attempt)
    search_id = tx.run(OWNER, {"key": trial_id}).scalar()
    if search_id is None:
        raise NotFound("trial", trial_id)
    state = lock_search(tx, search_id)
    row = tx.run(TRIAL, {"key": trial_id}).one()
    if row.status != TrialStatus.RUNNING.value or row.attempt != attempt:
        return _gone(row, attempt)
    _keep_point(tx, state, row, report)
    state.save()
    return _judge(tx, state, row, report)


def _beat(tx: Transaction, trial_id: int, attempt: int) -> Directive:
    values = {"key": trial_id, "number": attempt, "now": tx.now}
    extended = tx.run(BEAT, values).rowcount
    row = tx.run(TRIAL, {"key": trial_id}).one_or_none()
    if row is None:
        raise NotFound("trial", trial_id)
    if not extended:
        return _gone(row, attempt)
    tx.run(SEEN, {"worker": row.worker_id, "now": tx.now})
    return GO_ON


def _gone(row: Any, attempt: int) -> Directive:
    if row.status == TrialStatus.CANCELLED.value and row.attempt == attempt:
        return Directive(action="stop", reason=f"cancelled: {row.message}")
    raise LeaseLost(row.id, attempt, f"the trial is {row.status} at attempt {row.attempt}")


def _keep_point(tx: Transaction, state: SearchState, row: Any, report: Progress) -> None:
    points = json.loads(row.points) if row.points else []
    if len(points) < MAX_POINTS and report.point is not None:
        points.append(report.point.model_dump(exclude_none=True))
    values = {
        "seq": state.next_seq(),
        "points": json.dumps(points),
        "lease_expires_at": tx.now + row.lease_seconds,
    }
    if report.step_time_ms is not None:
        values["step_time_ms"] = report.step_time_ms
    tx.run(update(trials).where(trials.c.id == row.id).values(values))
    tx.run(SEEN, {"worker": row.worker_id, "now": tx.now})
    point = points[-1]
    tx.emit(
        "trial.progress",
        state.id,
        number=row.number,
        seq=state["trial_seq"],
        fraction=point["fraction"],
        validation_loss=point.get("validation_loss"),
    )


def _judge(tx: Transaction, state: SearchState, row: Any, report: Progress) -> Directive:
    if row.kind != TrialKind.CANDIDATE.value or report.point is None:
        return GO_ON
    if state.status is SearchStatus.CANCELLED:
        return Directive(action="stop", reason="cancelled: the search was cancelled")
    baseline = pool_baseline(tx, state.id, row.pool)
    if baseline is None:
        return GO_ON
    return directive(
        state.spec,
        baseline,
        report.point,
        judged=_hurdle_passed(row),
        step_time_ms=report.step_time_ms,
        inference_time_ms=report.inference_time_ms,
    )


def _hurdle_passed(row: Any) -> bool:
    """Returns whether an earlier point of this attempt was judged against the hurdle."""
    points = json.loads(row.points) if row.points else []
    return any(
        point["fraction"] >= HURDLE_FRACTION and point.get("validation_loss") is not None
        for point in points
    )
