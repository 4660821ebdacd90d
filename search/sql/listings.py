"""Trials as people read them: pages by keyset, one trial, its attempts, its ancestors."""

from __future__ import annotations

import base64
import json
from typing import Any

from sqlalchemy import ColumnElement, Select, literal, select, tuple_

from search.errors import InvalidInput, NotFound
from search.records import AttemptRecord, Page, TrialRecord
from search.sql.database import Transaction
from search.sql.rows import at, read_spec, trial_record, when, youngest_outside
from search.sql.text import storable
from search.store import TrialFilter
from search.tables import ON_FRONT, attempts, trials
from search.trial import Outcome

NULLABLE = {"fitness": trials.c.fitness, "step_time_ms": trials.c.step_time_ms}
SORTS: dict[str, Any] = {
    "number": trials.c.number,
    "seq": trials.c.seq,
    "parameters": trials.c.parameters,
    **NULLABLE,
}


def trials_page(
    tx: Transaction, search: Any, where: TrialFilter, cursor: str | None, limit: int
) -> Page:
    """Returns one page; missing values come last in both directions."""
    sort = "seq" if where.after_seq is not None else where.sort
    descending, name = sort.startswith("-"), sort.removeprefix("-")
    if name not in SORTS:
        raise InvalidInput(f"sort is one of {', '.join(SORTS)}, a minus descends", sort, "/sort")
    base = _filtered(search.id, where)
    value, number, missing = _read_cursor(cursor, sort)
    rows: list[Any] = []
    if not missing:
        rows = list(tx.run(_known(base, name, descending, value, number, limit + 1)).all())
    if len(rows) <= limit and name in NULLABLE:
        after = number if missing else None
        rows += tx.run(_missing(base, name, descending, after, limit + 1 - len(rows))).all()
    outside = youngest_outside(search)
    more = _cursor(rows[limit - 1], sort, name) if len(rows) > limit else None
    items = tuple(trial_record(row, outside, lean=not where.curves) for row in rows[:limit])
    return Page.model_construct(items=items, next_cursor=more)


def _filtered(search_id: str, where: TrialFilter) -> Select[Any]:
    query = select(trials).where(trials.c.search_id == search_id)
    if where.statuses:
        query = query.where(trials.c.status.in_([status.value for status in where.statuses]))
    if where.kinds:
        query = query.where(trials.c.kind.in_([kind.value for kind in where.kinds]))
    if where.pool is not None:
        query = query.where(trials.c.pool == storable(where.pool))
    if where.after_seq is not None:
        query = query.where(trials.c.seq > where.after_seq)
    return query


def _known(
    base: Select[Any],
    name: str,
    descending: bool,
    value: float | None,
    number: int | None,
    limit: int,
) -> Select[Any]:
    column: ColumnElement[Any] = SORTS[name]
    keys = [column] if name in {"number", "seq"} else [column, trials.c.number]
    if name in NULLABLE:
        base = base.where(column.is_not(None))
    if value is not None:
        at_key = [literal(value)] if len(keys) == 1 else [literal(value), literal(number)]
        left, right = tuple_(*keys), tuple_(*at_key)
        if len(keys) == 1:
            base = base.where(column < value if descending else column > value)
        else:
            base = base.where(left < right if descending else left > right)
    return base.order_by(*(key.desc() if descending else key for key in keys)).limit(limit)


def _missing(
    base: Select[Any], name: str, descending: bool, after: int | None, limit: int
) -> Select[Any]:
    base = base.where(SORTS[name].is_(None))
    number = trials.c.number
    if after is not None:
        base = base.where(number < after if descending else number > after)
    return base.order_by(number.desc() if descending else number).limit(limit)


def _cursor(row: Any, sort: str, name: str) -> str:
    value = getattr(row, name)
    text = json.dumps([sort, value, row.number])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, sort: str) -> tuple[float | None, int | None, bool]:
    """Returns value and number to go on after, and whether only missing values are left."""
    if cursor is None:
        return None, None, False
    rule = f"a cursor comes from the page before, of the same sort ({sort})"
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        made_for, value, number = json.loads(base64.urlsafe_b64decode(padded.encode()))
        known = value is None or type(value) in {int, float}
        right = made_for == sort and known and type(number) is int and abs(number) < 2**31
    except (ValueError, TypeError):
        right = False
    if not right or (type(value) is int and abs(value) >= 2**63):
        raise InvalidInput(rule, cursor[:64], "/cursor")
    return value, number, value is None


def one_trial(tx: Transaction, search_id: str, number: int) -> Any:
    """Returns the row of one trial.

    Raises:
        NotFound: there is none of that number.
    """
    if not 0 <= number < 2**31:
        raise NotFound("trial", number)
    row = tx.run(
        select(trials).where(trials.c.search_id == search_id, trials.c.number == number)
    ).one_or_none()
    if row is None:
        raise NotFound("trial", number)
    return row


def attempts_of(tx: Transaction, search_id: str, number: int) -> list[AttemptRecord]:
    """Returns every attempt of a trial, refused reports included."""
    trial = one_trial(tx, search_id, number)
    rows = tx.run(
        select(attempts)
        .where(attempts.c.trial_id == trial.id)
        .order_by(attempts.c.attempt, attempts.c.id)
    )
    return [
        AttemptRecord(
            trial_id=row.trial_id,
            attempt=row.attempt,
            worker_id=row.worker_id,
            pool=row.pool,
            outcome=None if row.outcome is None else Outcome(row.outcome),
            accepted=row.accepted,
            message=row.message,
            traceback=row.traceback,
            started_at=at(row.started_at),
            finished_at=when(row.finished_at),
        )
        for row in rows
    ]


def ancestors(tx: Transaction, search: Any, number: int, limit: int) -> list[TrialRecord]:
    """Returns the trial, its parent, its parent's parent ..., by one recursive query."""
    one_trial(tx, search.id, number)
    line = (
        select(trials.c.number, trials.c.parent_number, literal(0).label("depth"))
        .where(trials.c.search_id == search.id, trials.c.number == number)
        .cte("line", recursive=True)
    )
    line = line.union_all(
        select(trials.c.number, trials.c.parent_number, line.c.depth + 1).where(
            trials.c.search_id == search.id,
            trials.c.number == line.c.parent_number,
            line.c.depth < limit - 1,
        )
    )
    rows = tx.run(
        select(trials)
        .join(line, trials.c.number == line.c.number)
        .where(trials.c.search_id == search.id)
        .order_by(line.c.depth)
    )
    outside = youngest_outside(search)
    return [trial_record(row, outside, lean=True) for row in rows]


def population(tx: Transaction, search: Any) -> list[TrialRecord]:
    """Returns the last P completed or pruned candidates, oldest first."""
    outside = youngest_outside(search)
    rows = tx.run(
        select(trials)
        .where(trials.c.search_id == search.id, trials.c.finished_rank > outside)
        .order_by(trials.c.finished_rank)
        .limit(read_spec(search.spec).population_size)
    )
    return [trial_record(row, outside, lean=True) for row in rows]


def pareto(tx: Transaction, search: Any) -> list[TrialRecord]:
    """Returns the front, fastest first."""
    # The order is what makes SQLite take the small index rather than one over the whole search.
    rows = tx.run(
        select(trials).where(trials.c.search_id == search.id, ON_FRONT).order_by(trials.c.number)
    ).all()
    outside = youngest_outside(search)
    ordered = sorted(rows, key=lambda row: (row.pool, row.step_time_ms, row.number))
    return [trial_record(row, outside, lean=True) for row in ordered]
