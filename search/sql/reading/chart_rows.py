"""Rows that pictures are drawn from, read by what changed rather than all again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic_core import from_json
from sqlalchemy import Integer, bindparam, func, literal_column, or_, select

from brainformer.search.charts.columns import TrialCells
from brainformer.search.charts.pictures import PoolLevel
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import ON_FRONT, attempts, trials
from brainformer.search.sql.reading.listings import line_of_descent
from brainformer.search.sql.rows.table_rows import BaselineRow, TrialRow
from brainformer.search.sql.trials.baselines import as_baseline
from brainformer.search.trials.reward import step_time_limit
from brainformer.search.trials.trial import TrialKind, TrialStatus

A_QUERY = 500  # numbers named in one statement
MOST_SPANS = 2_000
MOST_ANCESTORS = 200
SPARK_PLACES = 40
BASELINE = TrialKind.BASELINE.value

CHANGED = (
    select(
        trials.c.number,
        trials.c.seq,
        trials.c.kind,
        trials.c.status,
        trials.c.pool,
        trials.c.parent_number.label("parent"),
        trials.c.finished_rank.label("rank"),
        trials.c.mutation,
        trials.c.outcome,
        trials.c.message,
        trials.c.fitness,
        trials.c.step_time_ms,
        trials.c.parameters,
        trials.c.started_at.label("started"),
        trials.c.finished_at.label("finished"),
    )
    .where(trials.c.search_id == bindparam("search"), trials.c.seq > bindparam("after"))
    .order_by(trials.c.seq)
)
LOSSES = select(trials.c.number, trials.c.measurements).where(
    trials.c.search_id == bindparam("search"),
    trials.c.kind == BASELINE,
    trials.c.status == TrialStatus.COMPLETED.value,
)


class SpanRow(NamedTuple):
    """An attempt of a search."""

    worker_id: str
    pool: str
    number: int
    outcome: str | None
    started_at: float
    finished_at: float | None


class AncestorRow(NamedTuple):
    """What is told of an ancestor."""

    number: int
    status: str
    fitness: float | None
    mutation: str
    origin: str


def changed_cells(tx: Transaction, search_id: str, after: int) -> list[TrialCells]:
    """Returns what changed after a sequence number, oldest first, without baselines' losses."""
    return tx.all(TrialCells, CHANGED, {"search": search_id, "after": after})


def baseline_losses(tx: Transaction, search_id: str) -> dict[int, float]:
    """Returns the losses of the baselines' completed runs by trial number."""
    read = (
        (number, from_json(measured).get("validation_loss"))
        for number, measured in tx.run(LOSSES, {"search": search_id})
        if measured
    )
    return {number: loss for number, loss in read if loss is not None}


def pool_level(row: BaselineRow, spec: SearchSpec) -> PoolLevel:
    """Returns what a pool's figures are relative to."""
    return PoolLevel(
        pool=row.pool,
        repeats=row.repeats,
        needed=row.needed,
        loss=row.validation_loss,
        bits_per_byte=row.bits_per_byte,
        noise=row.noise,
        step_time_ms=row.step_time_ms,
        limit_ms=step_time_limit(spec, as_baseline(row)),
        failure=row.failure,
    )


def rows_of(tx: Transaction, search_id: str, numbers: Sequence[int]) -> dict[int, TrialRow]:
    """Returns the rows of these trials by number."""
    found: dict[int, TrialRow] = {}
    for some in _parts(numbers):
        query = select(trials).where(trials.c.search_id == search_id, trials.c.number.in_(some))
        found |= {row.number: row for row in tx.all(TrialRow, query)}
    return found


def genomes_of(tx: Transaction, search_id: str, numbers: Sequence[int]) -> list[tuple[int, str]]:
    """Returns the genomes of these trials, as (number, canonical JSON)."""
    wanted = select(trials.c.number, trials.c.genome).where(trials.c.search_id == search_id)
    if len(numbers) > 20 * A_QUERY:  # most of a search: read in one go
        inside = set(numbers)
        rows = tx.run(wanted.where(trials.c.finished_rank >= 0))
        return [(number, genome) for number, genome in rows if number in inside]
    found: list[tuple[int, str]] = []
    for some in _parts(numbers):
        rows = tx.run(wanted.where(trials.c.number.in_(some)))
        found += [(number, genome) for number, genome in rows]
    return found


def _parts(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Yields numbers by as many as one statement names."""
    for start in range(0, len(numbers), A_QUERY):
        yield list(numbers[start : start + A_QUERY])


def numbers_with(tx: Transaction, search_id: str, word: str, *, after: int) -> list[int]:
    """Returns the trials that changed after `after` whose text holds a word, in any case."""
    columns = (
        *(trials.c.mutation, trials.c.message, trials.c.genome),
        *(trials.c.origin, trials.c.worker_id, trials.c.label),
    )
    plain = storable(word)
    holds = [column.icontains(plain, autoescape=True) for column in columns]
    holds.append(trials.c.digest.startswith(plain.lower(), autoescape=True))
    query = select(trials.c.number).where(
        trials.c.search_id == search_id, trials.c.seq > after, or_(*holds)
    )
    return list(tx.run(query).scalars())


def numbers_on_front(tx: Transaction, search_id: str) -> list[int]:
    """Returns the trials that none of their pool beats in loss, step time and parameters."""
    query = select(trials.c.number).where(trials.c.search_id == search_id, ON_FRONT)
    return list(tx.run(query).scalars())


def newest_tracebacks(
    tx: Transaction, search_id: str, numbers: Sequence[int]
) -> dict[int, tuple[str, str]]:
    """Returns message and traceback of the last attempt of these few trials."""
    query = (
        select(trials.c.number, trials.c.message, attempts.c.traceback)
        .join(attempts, attempts.c.trial_id == trials.c.id, isouter=True)
        .where(trials.c.search_id == search_id, trials.c.number.in_(list(numbers)))
        .order_by(attempts.c.id)
    )
    return {number: (message, trace or "") for number, message, trace in tx.run(query)}


def latest_spans(tx: Transaction, search_id: str) -> list[SpanRow]:
    """Returns the latest attempts of a search, the newest first."""
    newest = (
        select(trials.c.id)
        .where(trials.c.search_id == search_id, trials.c.started_at.is_not(None))
        .order_by(trials.c.seq.desc())
        .limit(MOST_SPANS)
    )
    query = (
        select(
            attempts.c.worker_id,
            attempts.c.pool,
            trials.c.number,
            attempts.c.outcome,
            attempts.c.started_at,
            attempts.c.finished_at,
        )
        .join(trials, attempts.c.trial_id == trials.c.id)
        .where(attempts.c.trial_id.in_(newest))
        .order_by(attempts.c.started_at.desc())
        .limit(MOST_SPANS)
    )
    return tx.all(SpanRow, query)


def ancestors_of(tx: Transaction, search_id: str, number: int) -> list[AncestorRow]:
    """Returns a trial and its ancestors, the youngest first, without their blocks."""
    line = line_of_descent(search_id, number, MOST_ANCESTORS)
    query = (
        select(
            trials.c.number,
            trials.c.status,
            trials.c.fitness,
            trials.c.mutation,
            trials.c.origin,
        )
        .join(line, trials.c.number == line.c.number)
        .where(trials.c.search_id == search_id)
        .order_by(line.c.depth)
    )
    return tx.all(AncestorRow, query)


def spark_line(tx: Transaction, search_id: str, size: int) -> list[float | None]:
    """Returns the best single run so far at up to 40 places of a search of `size` trials."""
    width = max(1, -(-size // SPARK_PLACES))
    place = (trials.c.number / literal_column(str(width), Integer)).cast(Integer)
    query = (
        select(place.label("place"), func.max(trials.c.fitness))
        .where(
            trials.c.search_id == search_id,
            trials.c.status == TrialStatus.COMPLETED.value,
            trials.c.kind == TrialKind.CANDIDATE.value,
            trials.c.fitness.is_not(None),
        )
        .group_by("place")
    )
    best: dict[int, float] = {int(at): value for at, value in tx.run(query)}
    line: list[float | None] = []
    so_far: float | None = None
    for at in range(-(-size // width) if size else 0):
        value = best.get(at)
        if value is not None:
            so_far = value if so_far is None else max(so_far, value)
        line.append(so_far)
    return line
