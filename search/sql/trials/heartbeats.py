"""Progress: extends the lease, keeps the point of the learning curve, judges the trial."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Double, bindparam, literal_column, update
from sqlalchemy.sql.dml import ReturningUpdate

from brainformer.search.errors import LeaseLost, NotFound, Refusal
from brainformer.search.sql.connection.clock import POSTGRES_CLOCK
from brainformer.search.sql.connection.database import Transaction, Values
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.trials.attempts import lease_lost, require_granted
from brainformer.search.sql.trials.baselines import pool_baseline
from brainformer.search.sql.trials.state import TRIAL, SearchState, lock_trials, save_all
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import GO_ON, Directive, Progress
from brainformer.search.trials.reward import HURDLE_FRACTION, Baseline, directive
from brainformer.search.trials.trial import CurvePoint, Outcome, TrialKind, TrialStatus

MAX_POINTS = 256
HELD_SECONDS = 2  # that points wait for a search that somebody holds, while others wait for them
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


POINTS = (
    update(trials)
    .where(trials.c.id == bindparam("key"))
    .values(
        lease_expires_at=bindparam("ends"),
        points=bindparam("curve"),
        seq=bindparam("next_seq"),
        step_time_ms=bindparam("step_time"),
    )
)
BEAT = _beat_at(bindparam("now", type_=Double))
BEAT_BY_SERVER = _beat_at(literal_column(POSTGRES_CLOCK, Double))


def record_progress(tx: Transaction, lease: LeaseId, report: Progress) -> Directive:
    """Extends the lease and answers whether to go on."""
    if report.point is None:
        return _beat(tx, lease)
    (answer,) = record_points(tx, [(lease, report)]).answers
    if isinstance(answer, Directive):
        return answer
    raise answer or AssertionError("the only search is waited for")


class Recorded(NamedTuple):
    """What became of several reports.

    Attributes:
        answers: To each; None where its search is busy.
        busy: The searches that somebody else holds, with the places of their reports.
    """

    answers: list[Directive | Refusal | None]
    busy: dict[str, list[int]]


def record_points(tx: Transaction, reports: Sequence[tuple[LeaseId, Progress]]) -> Recorded:
    """Keeps points of several trials and answers each report; an error stands for its own alone.

    Args:
        tx: Holds their searches until it ends.
        reports: All with a point, in the order in which they came.
    """
    found = lock_trials(tx, {lease.trial_id for lease, _ in reports})
    curves = Curves(tx, found.states, found.rows)
    answers: list[Directive | Refusal | None] = []
    busy: dict[str, list[int]] = {}
    for place, (lease, report) in enumerate(reports):
        if lease.trial_id in found.busy:
            busy.setdefault(found.busy[lease.trial_id], []).append(place)
            answers.append(None)
            continue
        try:
            answers.append(curves.take(lease, report))
        except (NotFound, LeaseLost) as error:
            answers.append(error)
    curves.save()
    return Recorded(answers, busy)


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


class Curves:
    """Learning curves of trials that are held; points go in one by one and are written together."""

    def __init__(
        self, tx: Transaction, states: dict[str, SearchState], rows: dict[int, TrialRow]
    ) -> None:
        self._tx = tx
        self._states = states
        self._rows = rows
        self._changed: dict[int, Values] = {}
        self._baselines: dict[tuple[str, str | None], Baseline | None] = {}

    def take(self, lease: LeaseId, report: Progress) -> Directive:
        """Extends the lease, keeps the point and judges the trial.

        Raises:
            NotFound: there is no such lease.
            LeaseLost: it no longer holds the trial.
        """
        row, point = self._rows.get(lease.trial_id), report.point
        if row is None or point is None:
            raise NotFound("trial", lease.trial_id)
        require_granted(self._tx, row, lease)
        if row.status != TrialStatus.RUNNING.value or row.attempt != lease.attempt:
            return _gone(row, lease)
        self._tx.saw(row.worker_id)
        earlier = [CurvePoint.model_validate(one) for one in json.loads(row.points or "[]")]
        self._keep(row, earlier, report, point)
        # A point that comes again, its answer lost on the way, is judged as it was the first time.
        judged = any(
            one.fraction >= HURDLE_FRACTION and one.validation_loss is not None
            for one in earlier
            if one.step < point.step
        )
        return self._judge(row, report, point, judged=judged)

    def save(self) -> None:
        """Writes what changed."""
        if self._changed:
            self._tx.run(POINTS, list(self._changed.values()))
        save_all(list(self._states.values()))

    def _keep(
        self, row: TrialRow, earlier: list[CurvePoint], report: Progress, point: CurvePoint
    ) -> None:
        if all(one.step != point.step for one in earlier):
            state = self._states[row.search_id]
            points = thinned([*earlier, point])
            row = row._replace(
                points=json.dumps([one.model_dump(exclude_none=True) for one in points]),
                seq=state.take_seq(),
                step_time_ms=row.step_time_ms
                if report.step_time_ms is None
                else report.step_time_ms,
            )
            self._tx.emit(
                EventKind.TRIAL_PROGRESS,
                state.id,
                number=row.number,
                seq=row.seq,
                fraction=point.fraction,
                validation_loss=point.validation_loss,
            )
        self._rows[row.id] = row
        self._changed[row.id] = {
            "key": row.id,
            "ends": self._tx.now + row.lease_seconds,
            "curve": row.points,
            "next_seq": row.seq,
            "step_time": row.step_time_ms,
        }

    def _judge(
        self, row: TrialRow, report: Progress, point: CurvePoint, *, judged: bool
    ) -> Directive:
        if row.kind != TrialKind.CANDIDATE.value:
            return GO_ON
        baseline = self._baseline(row)
        if baseline is None:
            return GO_ON
        return directive(
            self._states[row.search_id].spec,
            baseline,
            point,
            judged=judged,
            step_time_ms=report.step_time_ms,
            inference_time_ms=report.inference_time_ms,
        )

    def _baseline(self, row: TrialRow) -> Baseline | None:
        key = row.search_id, row.pool
        if key not in self._baselines:
            self._baselines[key] = pool_baseline(self._tx, *key)
        return self._baselines[key]


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
