"""How a search ends: limits, confirmations of the best with fresh seeds, completion."""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy import select

from brainformer.search.spec import ASK_TELL_POOL, SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.values import read_genome
from brainformer.search.sql.trials.baselines import as_baseline, baseline_row
from brainformer.search.sql.trials.cancellation import cancel_open
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.status import SearchStatus
from brainformer.search.trials.reward import confidence
from brainformer.search.trials.trial import TrialKind, TrialStatus


class Counted(Protocol):
    """Columns of a search by name."""

    def __getitem__(self, name: str, /) -> Any: ...


def limit_reached(spec: SearchSpec, row: Counted, now: float) -> bool:
    """Returns whether no further candidate is to be proposed.

    Hours count from the search's creation, pauses included.

    Args:
        spec: Of the search.
        row: Its columns.
        now: The database's time.
    """
    limits = spec.limits
    if row["exhausted"]:
        return True
    if limits.trials is not None and row["candidates_proposed"] >= limits.trials:
        return True
    return limits.hours is not None and now >= row["created_at"] + 3600 * limits.hours


def conclude(tx: Transaction, state: SearchState) -> None:
    """Takes the search to its next stage if this one is over."""
    if state.status is SearchStatus.STOPPING and not state["running"]:
        choose_best(tx, state)
        state.enter(SearchStatus.STOPPED, state["reason"])
        return
    if state.status is not SearchStatus.RUNNING or state["candidates_open"]:
        return
    if not limit_reached(state.spec, state, tx.now):
        return
    if not state["confirming"]:
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
    if not state["queued"] and not state["running"]:
        choose_best(tx, state)
        reason = "every genome within reach was tried" if state["exhausted"] else "limit reached"
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


def best_candidates(tx: Transaction, search_id: str, count: int) -> list[Any]:
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
    return list(tx.run(fittest).all())


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


def best_of(tx: Transaction, search_id: str) -> tuple[Any, list[float], float | None, Any] | None:
    """Returns the best trial's row, its fitness values, the confidence and its baseline's row.

    Confirmed trials are compared by the mean over the trial and its confirmations.
    """
    repeats = confirmed_candidates(tx, search_id)
    top: list[tuple[float, int, Any, list[float]]] = []
    if repeats:
        rows = tx.run(
            select(trials).where(
                trials.c.search_id == search_id, trials.c.number.in_(sorted(repeats))
            )
        )
        for row in rows:
            values = [row.fitness, *repeats[row.number]]
            top.append((sum(values) / len(values), -row.number, row, values))
    else:
        top = [
            (row.fitness, -row.number, row, [row.fitness])
            for row in best_candidates(tx, search_id, 1)
        ]
    if not top:
        return None
    _, _, row, values = max(top, key=lambda one: one[:2])
    pool = baseline_row(tx, search_id, row.pool)
    sure = None if pool is None else confidence(_gains(values, pool), as_baseline(pool))
    return row, values, sure, pool


def _gains(values: list[float], pool: Any) -> list[float]:
    """Returns by how much fitness is above the baseline: as it is, but for ask and tell's own."""
    told = pool.pool == ASK_TELL_POOL and pool.validation_loss is not None
    return [value + pool.validation_loss for value in values] if told else values


def choose_best(tx: Transaction, state: SearchState) -> None:
    """Writes the best trial, by its confirmed mean, on the search's row."""
    found = best_of(tx, state.id)
    if found is not None:
        row, values, _, _ = found
        state.set(best_number=row.number, best_fitness=sum(values) / len(values))
