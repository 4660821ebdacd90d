"""How a search ends: limits, confirmations of the best with fresh seeds, completion."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from brainformer.search.spec import ASK_TELL_POOL, SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.table_rows import BaselineRow, SearchRow, TrialRow
from brainformer.search.sql.rows.values import read_genome
from brainformer.search.sql.trials.baselines import as_baseline, baseline_row
from brainformer.search.sql.trials.cancellation import cancel_open
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.status import SearchStatus
from brainformer.search.trials.reward import confidence
from brainformer.search.trials.trial import TrialKind, TrialStatus


class Best(NamedTuple):
    """The best trial of a search.

    Attributes:
        row: The trial's.
        values: Its fitness, and that of its confirmations.
        confidence: Probability that its true fitness is above 0, None where unknown.
        baseline: Of its pool; None if there is none.
    """

    row: TrialRow
    values: list[float]
    confidence: float | None
    baseline: BaselineRow | None

    @property
    def mean_fitness(self) -> float:
        """Over the trial and its confirmations."""
        return sum(self.values) / len(self.values)


def limit_reached(spec: SearchSpec, search: SearchRow | SearchState, now: float) -> bool:
    """Returns whether no further candidate is to be proposed.

    Hours count from the search's creation, pauses included.

    Args:
        spec: Of the search.
        search: Its row or its state.
        now: The database's time.
    """
    limits = spec.limits
    if search.exhausted:
        return True
    if limits.trials is not None and search.candidates_proposed >= limits.trials:
        return True
    return limits.hours is not None and now >= search.created_at + 3600 * limits.hours


def advance(tx: Transaction, state: SearchState) -> None:
    """Takes the search to its next stage if this one is over."""
    if state.status is SearchStatus.STOPPING and not state.running:
        choose_best(tx, state)
        state.enter(SearchStatus.STOPPED, state.reason)
        return
    if state.status is not SearchStatus.RUNNING or state.candidates_open:
        return
    if not limit_reached(state.spec, state, tx.now):
        return
    if not state.confirming:
        state.set(confirming=True)
        # No candidate will need the baseline of a pool that came too late.
        cancel_open(
            tx,
            state,
            "the search's limit was reached",
            statuses=(TrialStatus.QUEUED,),
            kind=TrialKind.BASELINE,
        )
        _queue_confirmations(tx, state)
    if not state.queued and not state.running:
        choose_best(tx, state)
        reason = "every genome within reach was tried" if state.exhausted else "limit reached"
        state.enter(SearchStatus.COMPLETED, reason)


def _queue_confirmations(tx: Transaction, state: SearchState) -> None:
    """Queues repeats of the best candidates, but those that were confirmed before."""
    known = set(
        tx.run(
            select(trials.c.parent_number).where(
                trials.c.search_id == state.id, trials.c.kind == TrialKind.CONFIRMATION.value
            )
        ).scalars()
    )
    for row in best_candidates(tx, state.id, state.spec.confirmations):
        for _ in range(0 if row.number in known else state.spec.confirmation_repeats):
            new_trial(
                tx,
                state,
                TrialKind.CONFIRMATION,
                read_genome(row.genome),
                pool=row.pool,
                origin="confirmation",
                parent=row.number,
            )


def best_candidates(tx: Transaction, search_id: str, count: int) -> list[TrialRow]:
    """Returns the fittest completed candidates, best first; of equals, the one proposed first."""
    if count < 1:
        return []
    fittest = (
        select(trials)
        .where(
            trials.c.search_id == search_id,
            trials.c.fitness.is_not(None),
            trials.c.kind == TrialKind.CANDIDATE.value,
            trials.c.status == TrialStatus.COMPLETED.value,
        )
        .order_by(trials.c.fitness.desc(), trials.c.number)
        .limit(count)
    )
    return tx.all(TrialRow, fittest)


def confirmed_candidates(tx: Transaction, search_id: str) -> dict[int, list[float]]:
    """Returns the fitness of completed confirmations by the number of the trial they confirm."""
    # Asked for by kind alone: with a status beside it SQLite would go through all completed ones.
    rows = tx.run(
        select(trials.c.parent_number, trials.c.fitness, trials.c.status).where(
            trials.c.search_id == search_id,
            trials.c.kind == TrialKind.CONFIRMATION.value,
        )
    )
    found: dict[int, list[float]] = {}
    for number, fitness, status in rows:
        if status == TrialStatus.COMPLETED.value and fitness is not None:
            found.setdefault(number, []).append(fitness)
    return found


def best_of(tx: Transaction, search_id: str) -> Best | None:
    """Returns the best trial; None while no candidate has completed.

    Confirmed trials are compared by the mean over the trial and its confirmations.
    """
    repeats = confirmed_candidates(tx, search_id)
    if repeats:
        confirmed = select(trials).where(
            trials.c.search_id == search_id, trials.c.number.in_(sorted(repeats))
        )
        rows = tx.all(TrialRow, confirmed)
    else:
        rows = best_candidates(tx, search_id, 1)
    found = [
        (row, [row.fitness, *repeats.get(row.number, [])])
        for row in rows
        if row.fitness is not None
    ]
    if not found:
        return None
    row, values = max(found, key=lambda one: (sum(one[1]) / len(one[1]), -one[0].number))
    pool = None if row.pool is None else baseline_row(tx, search_id, row.pool)
    sure = None if pool is None else confidence(_gains(values, pool), as_baseline(pool))
    return Best(row, values, sure, pool)


def _gains(values: list[float], pool: BaselineRow) -> list[float]:
    """Returns by how much fitness is above the baseline: as it is, but for ask and tell's own."""
    if pool.pool != ASK_TELL_POOL or pool.validation_loss is None:
        return values
    return [value + pool.validation_loss for value in values]


def choose_best(tx: Transaction, state: SearchState) -> None:
    """Writes the best trial, by its confirmed mean, on the search's row."""
    best = best_of(tx, state.id)
    if best is not None:
        state.set(best_number=best.row.number, best_fitness=best.mean_fitness)
