"""What is known of a pool: its workers, what it did lately, and what its searches wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from sqlalchemy import func, select

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import (
    QUEUED,
    RUNNING,
    UNENDED,
    attempts,
    baselines,
    searches,
    trials,
    workers,
)
from brainformer.search.sql.pools import OutOfWork
from brainformer.search.sql.reading.activity import ALIVE_SECONDS, running_by
from brainformer.search.sql.rows.values import read_measurements, read_spec, when
from brainformer.search.store.records import PoolDetail, PoolRecord, PoolSearch
from brainformer.search.trials.trial import Measurements, Outcome

LATEST_ATTEMPTS = 2000  # of all pools together, so that the answer's cost is bounded
LATEST_TRIALS = 50
SHOWN_SEARCHES = 200


class SeenRow(NamedTuple):
    """A pool, and when its workers were heard of."""

    pool: str
    alive: int
    last_seen: float | None


class AttemptRow(NamedTuple):
    """How an attempt of the pool ended lately."""

    trial_id: int
    outcome: str
    started_at: float
    finished_at: float


class ServedRow(NamedTuple):
    """An open search, with its baseline on the pool."""

    id: str
    name: str
    status: str
    spec: str
    repeats: int | None
    needed: int | None
    failure: str | None


class CountRow(NamedTuple):
    """How many trials a search has."""

    search_id: str
    trials: int


class TextRow(NamedTuple):
    """Stored measurements."""

    measurements: str


def list_pools(tx: Transaction, out: OutOfWork) -> list[PoolRecord]:
    """Returns the pools seen, with their live workers."""
    busy = running_by(tx, trials.c.pool)
    return [_pool(row, busy, out) for row in _seen(tx, out)]


def show_pool(tx: Transaction, pool: str, out: OutOfWork) -> PoolDetail:
    """Returns what is known of one pool, of whatever name."""
    rows = {one.pool: one for one in _seen(tx, out)}
    row = rows.get(pool, SeenRow(pool, 0, None))
    ended = _latest_attempts(tx, pool)
    measured = _latest_measurements(tx, ended)
    speeds = [one.step_time_ms for one in measured if one.step_time_ms is not None]
    shares = [one.utilisation for one in measured if one.utilisation is not None]
    hour = [one for one in ended if one.finished_at > tx.now - 3600]
    return PoolDetail(
        **_pool(row, running_by(tx, trials.c.pool), out).model_dump(),
        devices=tuple(sorted({one.device for one in measured if one.device})),
        attempts_last_hour=len(hour),
        outcomes=dict(sorted(Counter(one.outcome for one in ended).items())),
        step_time_ms=median(speeds) if speeds else None,
        utilisation=fmean(shares) if shares else None,
        searches=_searches(tx, pool, out),
    )


def _seen(tx: Transaction, out: OutOfWork) -> list[SeenRow]:
    """Returns the pools that workers have named, and those out of work, by name."""
    alive = workers.c.last_seen >= tx.now - ALIVE_SECONDS
    query = select(
        workers.c.pool,
        func.count().filter(alive).label("alive"),
        func.max(workers.c.last_seen).label("last_seen"),
    ).group_by(workers.c.pool)
    found = {row.pool: row for row in tx.all(SeenRow, query)}
    left = {pool: SeenRow(pool, 0, None) for pool in out.names}
    return [row for _, row in sorted({**left, **found}.items())]


def _pool(row: SeenRow, busy: Mapping[str, int], out: OutOfWork) -> PoolRecord:
    return PoolRecord(
        pool=row.pool,
        workers=row.alive,
        running=busy.get(row.pool, 0),
        last_seen=when(row.last_seen),
        drained_at=when(out.drained.get(row.pool)),
        retired_at=when(out.retired.get(row.pool)),
    )


def _latest_attempts(tx: Transaction, pool: str) -> list[AttemptRow]:
    """Returns those of the latest attempts that ended on the pool, newest first."""
    recent = select(attempts).order_by(attempts.c.id.desc()).limit(LATEST_ATTEMPTS).subquery()
    query = (
        select(recent.c.trial_id, recent.c.outcome, recent.c.started_at, recent.c.finished_at)
        .where(recent.c.pool == pool, recent.c.outcome.is_not(None), recent.c.finished_at > 0)
        .order_by(recent.c.id.desc())
    )
    return tx.all(AttemptRow, query)


def _latest_measurements(tx: Transaction, ended: Sequence[AttemptRow]) -> list[Measurements]:
    keys = [one.trial_id for one in ended if one.outcome == Outcome.COMPLETED][:LATEST_TRIALS]
    wanted = trials.c.id.in_(keys), trials.c.measurements.is_not(None)
    rows = tx.all(TextRow, select(trials.c.measurements).where(*wanted))
    return [read_measurements(row.measurements) for row in rows]


def _searches(tx: Transaction, pool: str, out: OutOfWork) -> tuple[PoolSearch, ...]:
    """Returns the open searches that may use the pool, each with what it waits for."""
    found = (
        select(
            *(searches.c.id, searches.c.name, searches.c.status, searches.c.spec),
            *(baselines.c.repeats, baselines.c.needed, baselines.c.failure),
        )
        .join_from(
            searches,
            baselines,
            (baselines.c.search_id == searches.c.id) & (baselines.c.pool == pool),
            isouter=True,
        )
        .where(UNENDED)
        .order_by(searches.c.ordinal)
        .limit(SHOWN_SEARCHES)
    )
    running = _counted(tx, RUNNING, pool)
    queued = _counted(tx, QUEUED, pool)
    served = []
    for row in tx.all(ServedRow, found):
        named = read_spec(row.spec).pools
        if not named or pool in named:
            waits = queued.get(row.id, 0)
            served.append(
                PoolSearch(
                    search_id=row.id,
                    name=row.name,
                    status=row.status,
                    running=running.get(row.id, 0),
                    waiting=waits,
                    blocked=_blocked(row, waits, pool, out),
                )
            )
    return tuple(served)


def _counted(tx: Transaction, which: object, pool: str) -> dict[str, int]:
    # By an expression: for the bare column SQLite would walk an index over all trials.
    search = func.coalesce(trials.c.search_id, "")
    query = (
        select(search.label("search_id"), func.count().label("trials"))
        .where(which, trials.c.pool == pool)  # type: ignore[arg-type]
        .group_by(search)
    )
    return {row.search_id: row.trials for row in tx.all(CountRow, query)}


def _blocked(row: ServedRow, waits: int, pool: str, out: OutOfWork) -> str:
    """Returns in a few words why no candidate of the search starts on the pool; "" if they do."""
    if row.status != "running":
        return f"the search is {row.status}"
    if pool in out.retired:
        return "the pool was retired"
    if row.failure:
        return f"the baseline failed here: {row.failure}"
    if pool in out.drained:
        what = f"; {waits} trials wait for this pool alone" if waits else ""
        return f"the pool is drained{what}"
    if row.repeats is None:
        return "the baseline has not started here"
    if row.needed is not None and row.repeats < row.needed:
        return f"the baseline is measured first: {row.repeats} of {row.needed} runs"
    return ""
