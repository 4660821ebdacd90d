"""Trials as people read them: pages by keyset, one trial, its attempts, its ancestors."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic_core import to_json
from sqlalchemy import CTE, BigInteger, ColumnElement, Select, func, literal, select, tuple_

from brainformer.search.errors import InvalidInput, NotFound
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import attempts, trials
from brainformer.search.sql.reading.plain_trial import plain_trial
from brainformer.search.sql.rows.records import trial_record, youngest_outside
from brainformer.search.sql.rows.table_rows import AttemptRow, SearchRow, TrialRow
from brainformer.search.sql.rows.values import at, read_spec, when
from brainformer.search.sql.trials.front import FRONT, UNKNOWN_MS
from brainformer.search.store.contract import TrialFilter
from brainformer.search.store.records import AttemptRecord, Page, TrialRecord
from brainformer.search.trials.trial import Outcome, TrialKind

NULLABLE = {"fitness", "step_time_ms"}
Expression: TypeAlias = ColumnElement[Any]  # a column, of whatever type
Query: TypeAlias = Select[Any]
SORTS: dict[str, Expression] = {
    "number": trials.c.number,
    "seq": trials.c.seq,
    "parameters": trials.c.parameters,
    "fitness": trials.c.fitness,
    "step_time_ms": trials.c.step_time_ms,
}
RARE_KINDS = frozenset(TrialKind) - {TrialKind.CANDIDATE}
FEW = 1000  # rows that are sorted rather than looked for in the order asked for


@dataclass(frozen=True)
class After:
    """Where a page goes on: behind value and number, or among the missing ones alone."""

    value: float | None = None
    number: int | None = None
    missing: bool = False


@dataclass(frozen=True)
class Order:
    """How a page is sorted.

    Attributes:
        picked: Whether a filter leaves so few rows that they are picked by its index and sorted.
            Else they are read in order from the sort's index, where most pass the filters.
    """

    name: str
    descending: bool
    picked: bool

    def column(self, name: str) -> Expression:
        """Returns the column, hidden from the planner's choice of index if rows are picked."""
        column = SORTS[name]
        return column + 0 if self.picked else column

    @property
    def keys(self) -> list[Expression]:
        """The columns that the page is sorted by; together they are unique."""
        names = [self.name] if self.name in {"number", "seq"} else [self.name, "number"]
        return [self.column(name) for name in names]

    def place(self, row: TrialRow) -> tuple[bool, float, int]:
        """Returns what puts rows of several queries in one order."""
        value, sign = getattr(row, self.name), -1 if self.descending else 1
        return value is None, sign * (value or 0), sign * row.number


def trials_page(
    tx: Transaction, search: SearchRow, where: TrialFilter, cursor: str | None, limit: int
) -> Page[TrialRecord]:
    """Returns one page; missing values come last in both directions."""
    rows, more = _page(tx, search, where, cursor, limit)
    outside = youngest_outside(search)
    items = tuple(trial_record(row, outside, lean=not where.curves) for row in rows)
    return Page.model_construct(items=items, next_cursor=more)


def trials_json(
    tx: Transaction, search: SearchRow, where: TrialFilter, cursor: str | None, limit: int
) -> tuple[bytes, str | None]:
    """Returns one page as JSON, and its `next_cursor`."""
    rows, more = _page(tx, search, where, cursor, limit)
    outside = youngest_outside(search)
    items = [plain_trial(row, outside) for row in rows]
    return to_json({"items": items, "next_cursor": more}, inf_nan_mode="null"), more


def _page(
    tx: Transaction, search: SearchRow, where: TrialFilter, cursor: str | None, limit: int
) -> tuple[list[TrialRow], str | None]:
    """Returns the rows of one page and the cursor of the next."""
    sort = "seq" if where.after_seq is not None else where.sort
    name = sort.removeprefix("-")
    if name not in SORTS:
        raise InvalidInput(f"sort is one of {', '.join(SORTS)}, a minus descends", sort, "/sort")
    order = Order(name, sort.startswith("-"), _few_pass(tx, search.id, where))
    after = _read_cursor(cursor, sort)
    # One query a status: each finds its rows in order in an index of its own.
    split = where.statuses and not order.picked
    statuses = [[status] for status in dict.fromkeys(where.statuses)] if split else [where.statuses]
    hidden = not (order.picked or tx.postgres)
    rows: list[TrialRow] = []
    for some in statuses:
        base = _filtered(search.id, replace(where, statuses=some), hidden=hidden)
        rows += _in_order(tx, base, order, after, limit + 1)
    if len(statuses) > 1:
        rows.sort(key=order.place)
    more = _cursor(rows[limit - 1], sort, name) if len(rows) > limit else None
    return rows[:limit], more


def _few_pass(tx: Transaction, search_id: str, where: TrialFilter) -> bool:
    """Returns whether kind or pool leaves few rows of the search."""
    if _rare(where):
        return True
    if where.pool is None:
        return False
    some = select(trials.c.number).where(
        trials.c.search_id == search_id, trials.c.pool == storable(where.pool)
    )
    counted = select(func.count()).select_from(some.limit(FEW).subquery())
    return bool(tx.run(counted).scalar_one() < FEW)


def _rare(where: TrialFilter) -> bool:
    """Returns whether only kinds are asked for of which a search has few."""
    return bool(where.kinds) and RARE_KINDS.issuperset(where.kinds)


def _filtered(search_id: str, where: TrialFilter, *, hidden: bool) -> Query:
    """Returns the query.

    Args:
        search_id: Of the search.
        where: The filters.
        hidden: Whether kind and pool are hidden from SQLite's choice of an index. PostgreSQL
            knows how common their values are.
    """
    kind: Expression = trials.c.kind
    pool: Expression = trials.c.pool
    status: Expression = trials.c.status
    if hidden:
        kind, pool = func.coalesce(kind, ""), func.coalesce(pool, "")
    elif _rare(where):  # a kind leaves fewer rows than a pool or a status, which SQLite cannot know
        pool, status = func.coalesce(pool, ""), func.coalesce(status, "")
    query = select(trials).where(trials.c.search_id == search_id)
    if len(where.statuses) == 1:
        query = query.where(status == where.statuses[0].value)
    elif where.statuses:
        query = query.where(status.in_([one.value for one in where.statuses]))
    if where.kinds:
        query = query.where(kind.in_([one.value for one in where.kinds]))
    if where.pool is not None:
        query = query.where(pool == storable(where.pool))
    if where.after_seq is not None:
        query = query.where(trials.c.seq > literal(where.after_seq, BigInteger))
    return query


def _in_order(
    tx: Transaction, base: Query, order: Order, after: After, limit: int
) -> list[TrialRow]:
    """Returns up to `limit` rows behind the cursor: those with a value, then those without."""
    rows: list[TrialRow] = []
    if not after.missing:
        rows = tx.all(TrialRow, _known(base, order, after, limit))
    if len(rows) < limit and order.name in NULLABLE:
        rows += tx.all(TrialRow, _missing(base, order, after, limit - len(rows)))
    return rows


def _known(base: Query, order: Order, after: After, limit: int) -> Query:
    keys = order.keys
    if order.name in NULLABLE:
        base = base.where(order.column(order.name).is_not(None))
    if after.value is not None:
        wide = BigInteger if isinstance(after.value, int) else None
        here = [literal(after.value, wide), literal(after.number)][: len(keys)]
        left, right = (keys[0], here[0]) if len(keys) == 1 else (tuple_(*keys), tuple_(*here))
        base = base.where(left < right if order.descending else left > right)
    return base.order_by(*(key.desc() if order.descending else key for key in keys)).limit(limit)


def _missing(base: Query, order: Order, after: After, limit: int) -> Query:
    base = base.where(order.column(order.name).is_(None))
    number = order.column("number")
    if after.missing:
        base = base.where(number < after.number if order.descending else number > after.number)
    return base.order_by(number.desc() if order.descending else number).limit(limit)


def _cursor(row: TrialRow, sort: str, name: str) -> str:
    value = getattr(row, name)
    text = json.dumps([sort, value, row.number])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, sort: str) -> After:
    if cursor is None:
        return After()
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
    return After(value, number, missing=value is None)


def one_trial(tx: Transaction, search_id: str, number: int) -> TrialRow:
    """Returns the row of one trial.

    Raises:
        NotFound: there is none of that number.
    """
    if not 0 <= number < 2**31:
        raise NotFound("trial", number)
    row = tx.first(
        TrialRow,
        select(trials).where(trials.c.search_id == search_id, trials.c.number == number),
    )
    if row is None:
        raise NotFound("trial", number)
    return row


def attempts_of(tx: Transaction, search_id: str, number: int) -> list[AttemptRecord]:
    """Returns every attempt of a trial, refused reports included."""
    trial = one_trial(tx, search_id, number)
    every = (
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
        for row in tx.all(AttemptRow, every)
    ]


def ancestors(tx: Transaction, search: SearchRow, number: int, limit: int) -> list[TrialRecord]:
    """Returns the trial, its parent, its parent's parent ..., by one recursive query."""
    one_trial(tx, search.id, number)
    line = line_of_descent(search.id, number, limit)
    found = (
        select(trials)
        .join(line, trials.c.number == line.c.number)
        .where(trials.c.search_id == search.id)
        .order_by(line.c.depth)
    )
    outside = youngest_outside(search)
    return [trial_record(row, outside, lean=True) for row in tx.all(TrialRow, found)]


def line_of_descent(search_id: str, number: int, limit: int) -> CTE:
    """Returns a trial and its ancestors, at most `limit` of them: `number` and `depth`."""
    line = (
        select(trials.c.number, trials.c.parent_number, literal(0).label("depth"))
        .where(trials.c.search_id == search_id, trials.c.number == number)
        .cte("line", recursive=True)
    )
    return line.union_all(
        select(trials.c.number, trials.c.parent_number, line.c.depth + 1).where(
            trials.c.search_id == search_id,
            trials.c.number == line.c.parent_number,
            line.c.depth < limit - 1,
        )
    )


def population(tx: Transaction, search: SearchRow) -> list[TrialRecord]:
    """Returns the last P completed or pruned candidates, oldest first."""
    outside = youngest_outside(search)
    youngest = (
        select(trials)
        .where(trials.c.search_id == search.id, trials.c.finished_rank > outside)
        .order_by(trials.c.finished_rank)
        .limit(read_spec(search.spec).population_size)
    )
    return [trial_record(row, outside, lean=True) for row in tx.all(TrialRow, youngest)]


def pareto(tx: Transaction, search: SearchRow) -> list[TrialRecord]:
    """Returns the front, pool by pool, fastest first."""
    outside = youngest_outside(search)
    ordered = sorted(tx.all(TrialRow, FRONT, {"search": search.id}), key=_by_speed)
    return [trial_record(row, outside, lean=True) for row in ordered]


def _by_speed(row: TrialRow) -> tuple[str, float, int]:
    known = row.step_time_ms
    return row.pool or "", UNKNOWN_MS if known is None else known, row.number
