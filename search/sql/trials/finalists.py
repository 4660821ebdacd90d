"""The finalists of a search and their race: read from its trials, and taken a step further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select

from brainformer.search.estimates.comparison import Losses, sample_like
from brainformer.search.estimates.race import Race, RaceRules, Runs, Wanted
from brainformer.search.spec import ASK_TELL_POOL, SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.rows.values import read_genome, read_measurements
from brainformer.search.sql.trials.baselines import (
    FURTHER,
    OF_BASELINE,
    baseline_row,
    queue_rival,
    rival_of,
)
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.trials.reward import REPEAT
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus

OF_KIND = (
    select(trials)
    .where(trials.c.search_id == bindparam("search"), trials.c.kind == bindparam("kind"))
    .order_by(trials.c.number)
)


class Finalists(NamedTuple):
    """The race among a search's best candidates.

    Attributes:
        race: Over their fresh runs.
        rows: The trials that made them finalists, by number; never part of an estimate.
    """

    race: Race
    rows: dict[int, TrialRow]


def read_finalists(
    tx: Transaction, search_id: str, spec: SearchSpec, chosen: Sequence[TrialRow] = ()
) -> Finalists:
    """Returns the finalists: those that have been run again, and those that are chosen now."""
    repeats = tx.all(TrialRow, OF_KIND, {"search": search_id, "kind": TrialKind.CONFIRMATION.value})
    numbers = {one.parent_number for one in repeats if one.parent_number is not None}
    rows = {row.number: row for row in chosen}
    missing = sorted(numbers - rows.keys())
    if missing:
        again = select(trials).where(trials.c.search_id == search_id, trials.c.number.in_(missing))
        rows |= {row.number: row for row in tx.all(TrialRow, again)}
    runs = {
        number: Runs(str(row.pool), _losses([r for r in repeats if r.parent_number == number]))
        for number, row in sorted(rows.items(), key=lambda item: _by_fitness(item[1]))
    }
    rivals = {
        pool: _rival_losses(tx, search_id, pool, repeats)
        for pool in {run.pool for run in runs.values()}
    }
    lost = sum(_is_lost(one) for one in repeats)
    limit = max(0, spec.confirmation_runs - lost)
    return Finalists(Race(runs, rivals, RaceRules(spec.confirmation_repeats, limit)), rows)


def confirmations(tx: Transaction, search_id: str) -> dict[int, list[TrialRow]]:
    """Returns the repeats of each finalist, by its number, in order of repeat."""
    kind = TrialKind.CONFIRMATION.value
    found: dict[int, list[TrialRow]] = {}
    for row in tx.all(TrialRow, OF_KIND, {"search": search_id, "kind": kind}):
        if row.parent_number is not None:
            found.setdefault(row.parent_number, []).append(row)
    return found


def queue_wanted(tx: Transaction, state: SearchState, finalists: Finalists) -> int:
    """Queues the race's next round; returns how many trials that makes."""
    wanted = finalists.race.state().wanted
    counts: dict[Wanted, int] = {}
    for one in wanted:
        ahead = counts.get(one, 0)
        counts[one] = ahead + 1
        if one.finalist is None:
            _queue_rival(tx, state, one.pool, finalists.race.rival_runs(one.pool) + ahead)
        else:
            runs = finalists.race.finalist_runs(one.finalist)
            _queue_finalist(tx, state, finalists.rows[one.finalist], runs + ahead)
    return len(wanted)


def _queue_finalist(tx: Transaction, state: SearchState, row: TrialRow, repeat: int) -> None:
    new_trial(
        tx,
        state,
        TrialKind.CONFIRMATION,
        read_genome(row.genome),
        pool=row.pool,
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
    tx: Transaction, search_id: str, pool: str, repeats: Sequence[TrialRow]
) -> Losses:
    """Returns the rival's losses on a pool relative to the mean of its first repeats."""
    row = baseline_row(tx, search_id, pool)
    if row is None or row.validation_loss is None:
        return []
    if pool == ASK_TELL_POOL:  # fitness there is as it was told, on any scale
        return sample_like(row.repeats, row.validation_loss, row.noise)
    level = row.validation_loss
    first = [
        loss - level
        for one in tx.all(TrialRow, OF_BASELINE, {"search": search_id, "pool": pool})
        if one.origin == REPEAT
        and one.status == TrialStatus.COMPLETED.value
        and (loss := read_measurements(one.measurements).validation_loss) is not None
    ]
    further = [one for one in repeats if one.origin == FURTHER and one.pool == pool]
    return [*first, *_losses(further)]


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
    ended = row.status in {TrialStatus.FAILED.value, TrialStatus.CANCELLED.value}
    return ended and not counts_as_run(row)


def _by_fitness(row: TrialRow) -> tuple[float, int]:
    return -(row.fitness or 0.0), row.number
