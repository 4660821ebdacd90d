"""The finalists of a search and their race: read from its trials, and taken a step further."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from brainformer.search.estimates.comparison import Losses, sample_like
from brainformer.search.estimates.race import Race, RaceRules, Runs, Wanted
from brainformer.search.spec import ASK_TELL_POOL, SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials, workers
from brainformer.search.sql.rows.table_rows import BaselineRow, TrialRow
from brainformer.search.sql.rows.values import read_genome, read_measurements
from brainformer.search.sql.trials.baselines import (
    FURTHER,
    OF_BASELINE,
    baseline_row,
    baseline_rows,
    is_complete,
    queue_rival,
    retired_words,
    rival_of,
)
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.trials.reward import REPEAT
from brainformer.search.trials.trial import OPEN, Outcome, TrialKind, TrialStatus

OF_KIND = (
    select(trials)
    .where(trials.c.search_id == bindparam("search"), trials.c.kind == bindparam("kind"))
    .order_by(trials.c.number)
)


LAST_SEEN = (
    select(workers.c.pool, func.max(workers.c.last_seen).label("last_seen"))
    .where(workers.c.pool.in_(bindparam("pools", expanding=True)))
    .group_by(workers.c.pool)
)


class Seen(NamedTuple):
    """When a pool's workers were heard of last."""

    pool: str
    last_seen: float


class Finalists(NamedTuple):
    """The race among a search's best candidates.

    Attributes:
        race: Over their fresh runs.
        rows: The trials that made them finalists, by number; never part of an estimate.
        repeats: All fresh runs, those of rivals and those still open included.
    """

    race: Race
    rows: dict[int, TrialRow]
    repeats: list[TrialRow]


def read_finalists(
    tx: Transaction,
    search_id: str,
    spec: SearchSpec,
    chosen: Sequence[TrialRow] = (),
    *,
    moving: bool = False,
) -> Finalists:
    """Returns the finalists: those that have been run again, and those that are chosen now.

    Args:
        tx: Of the caller.
        search_id: The search.
        spec: Its spec.
        chosen: Finalists whether or not they have been run again.
        moving: Whether a finalist whose pool has left the search before its first repeats were
            complete begins afresh on another pool, beside that pool's rival. Its runs on the old
            one are then left out: repeats are paired, and losses compare only within a pool.
    """
    repeats = tx.all(TrialRow, OF_KIND, {"search": search_id, "kind": TrialKind.CONFIRMATION.value})
    numbers = {one.parent_number for one in repeats if one.parent_number is not None}
    rows = {row.number: row for row in chosen}
    missing = sorted(numbers - rows.keys())
    if missing:
        again = select(trials).where(trials.c.search_id == search_id, trials.c.number.in_(missing))
        rows |= {row.number: row for row in tx.all(TrialRow, again)}
    pools = {row.pool: row for row in baseline_rows(tx, search_id)}
    closed = {pool for pool, row in pools.items() if row.failure}
    elsewhere = _manned_pool(tx, pools.values()) if moving and closed else None
    runs = {}
    for number, row in sorted(rows.items(), key=lambda item: _by_fitness(item[1])):
        own = [one for one in repeats if one.parent_number == number]
        runs[number] = _runs_of(row, own)
        lacks = len(runs[number].losses) < spec.confirmation_repeats
        if elsewhere is not None and lacks and runs[number].pool in closed:
            runs[number] = Runs(elsewhere)
    run_there = {one.pool for one in runs.values() if len(one.losses) >= spec.confirmation_repeats}
    rivals = {
        pool: _rival_losses(tx, pools.get(pool), repeats, begun=pool in run_there)
        for pool in {run.pool for run in runs.values()}
    }
    lost = sum(_is_lost(one) for one in repeats)
    rules = RaceRules(spec.confirmation_repeats, max(0, spec.confirmation_runs - lost))
    return Finalists(Race(runs, rivals, rules, closed), rows, repeats)


def _runs_of(row: TrialRow, repeats: Sequence[TrialRow]) -> Runs:
    """Returns the fresh runs of a finalist that count: those on the pool of the newest."""
    pool = str(repeats[-1].pool if repeats else row.pool)
    return Runs(pool, _losses([one for one in repeats if one.pool == pool]))


def _manned_pool(tx: Transaction, pools: Iterable[BaselineRow]) -> str | None:
    """Returns the pool with a rival whose workers were heard of last; None without any."""
    usable = [row.pool for row in pools if is_complete(row) and not row.failure]
    if not usable:
        return None
    seen = {row.pool: row.last_seen for row in tx.all(Seen, LAST_SEEN, {"pools": usable})}
    return min(usable, key=lambda pool: (-seen.get(pool, 0.0), pool))


def confirmations(tx: Transaction, search_id: str) -> dict[int, list[TrialRow]]:
    """Returns the repeats of each finalist, by its number, in order of repeat."""
    kind = TrialKind.CONFIRMATION.value
    found: dict[int, list[TrialRow]] = {}
    for row in tx.all(TrialRow, OF_KIND, {"search": search_id, "kind": kind}):
        if row.parent_number is not None:
            found.setdefault(row.parent_number, []).append(row)
    return found


def queue_wanted(tx: Transaction, state: SearchState, finalists: Finalists) -> int:
    """Queues the race's next round; returns how many trials that makes.

    A repeat that was lost to the machine is run again under its own number: the k-th repeats of all
    blocks share a seed, and no block has two runs of one.
    """
    wanted = finalists.race.state().wanted
    free: dict[Wanted, Iterator[int]] = {}
    for one in wanted:
        if one not in free:
            own = [
                row
                for row in finalists.repeats
                if row.pool == one.pool and row.parent_number == one.finalist
            ]
            known = finalists.race.rival_runs(one.pool) if one.finalist is None else 0
            free[one] = free_repeats(own, max(0, known - sum(map(counts_as_run, own))))
        if one.finalist is None:
            _queue_rival(tx, state, one.pool, next(free[one]))
        else:
            _queue_finalist(tx, state, finalists.rows[one.finalist], one.pool, next(free[one]))
    return len(wanted)


def free_repeats(rows: Sequence[TrialRow], first: int) -> Iterator[int]:
    """Yields the numbers from `first` on that no repeat has which is open or counts."""
    taken = {row.repeat for row in rows if row.status in OPEN or counts_as_run(row)}
    return (at for at in itertools.count(first) if at not in taken)


def _queue_finalist(
    tx: Transaction, state: SearchState, row: TrialRow, pool: str, repeat: int
) -> None:
    new_trial(
        tx,
        state,
        TrialKind.CONFIRMATION,
        read_genome(row.genome),
        pool=pool,
        origin="confirmation",
        parent=row.number,
        repeat=repeat,
    )


def _queue_rival(tx: Transaction, state: SearchState, pool: str, repeat: int) -> None:
    row = baseline_row(tx, state.id, pool)
    if row is not None:
        queue_rival(tx, state, pool, rival_of(row, state.spec), repeat, origin=FURTHER)


def _losses(repeats: Sequence[TrialRow]) -> Losses:
    """Returns the losses relative to the baseline's mean, in order of repeat; None diverged."""
    ended = [one for one in repeats if counts_as_run(one)]
    ordered = sorted(ended, key=lambda one: one.repeat if one.repeat is not None else one.number)
    return [
        -one.fitness
        if one.status == TrialStatus.COMPLETED.value and one.fitness is not None
        else None
        for one in ordered
    ]


def _rival_losses(
    tx: Transaction, row: BaselineRow | None, repeats: Sequence[TrialRow], *, begun: bool
) -> Losses:
    """Returns the losses of the rival's runs beside the finalists, relative to its first repeats.

    Those first repeats, from before the first candidate, do not count: machines change within a
    search. They stand in where finalists have been run on its pool (`begun`) and the rival never
    was beside them, as in searches of earlier versions.
    """
    if row is None or row.validation_loss is None:
        return []
    if row.pool == ASK_TELL_POOL:  # fitness there is as it was told, on any scale
        return sample_like(row.repeats, row.validation_loss, row.noise)
    beside = [one for one in repeats if one.origin == FURTHER and one.pool == row.pool]
    return _losses(beside) if beside or not begun else _first_losses(tx, row, row.validation_loss)


def _first_losses(tx: Transaction, row: BaselineRow, level: float) -> Losses:
    return [
        loss - level
        for one in tx.all(TrialRow, OF_BASELINE, {"search": row.search_id, "pool": row.pool})
        if one.origin == REPEAT
        and one.status == TrialStatus.COMPLETED.value
        and (loss := read_measurements(one.measurements).validation_loss) is not None
    ]


def counts_as_run(row: TrialRow) -> bool:
    """Returns whether a repeat says something of its genome: a loss, or that it diverged."""
    if row.status == TrialStatus.COMPLETED.value:
        return row.fitness is not None
    if row.status not in {TrialStatus.FAILED.value, TrialStatus.PRUNED.value}:
        return False
    return row.outcome in DIVERGED or row.pool == ASK_TELL_POOL


# What a genome did, not the machine: it counts as a loss beyond any finite one.
DIVERGED = frozenset({Outcome.DIVERGED.value, Outcome.LEAKS_FUTURE.value})


def _is_lost(row: TrialRow) -> bool:
    """Returns whether a repeat came to nothing, other than by its pool's retirement."""
    ended = row.status in {TrialStatus.FAILED.value, TrialStatus.CANCELLED.value}
    return ended and not counts_as_run(row) and row.message != retired_words(str(row.pool))


def _by_fitness(row: TrialRow) -> tuple[float, int]:
    return -(row.fitness or 0.0), row.number
