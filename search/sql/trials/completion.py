"""How a search ends: limits, confirmations of the best with fresh seeds, completion."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from brainformer.search.estimates.comparison import mean, standard_deviation
from brainformer.search.spec import Limits, SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.table_rows import BaselineRow, SearchRow, TrialRow
from brainformer.search.sql.trials.baselines import baseline_row, baseline_rows
from brainformer.search.sql.trials.cancellation import cancel_open
from brainformer.search.sql.trials.finalists import Finalists, queue_wanted, read_finalists
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.sql.trials.study_runs import queue_next_runs
from brainformer.search.status import SearchStatus
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.trial import TrialKind, TrialStatus


class Best(NamedTuple):
    """The best trial of a search.

    Attributes:
        row: The trial's: a single run, which made it a finalist.
        finalists: Whose race it leads; None where nothing was run again.
        baseline: Of the pool that its fresh runs, or else its single run, were made on; None if
            there is none.
    """

    row: TrialRow
    finalists: Finalists | None
    baseline: BaselineRow | None

    @property
    def gains(self) -> list[float]:
        """By how much each of its fresh runs beat the baseline's mean loss."""
        return [] if self.finalists is None else self.finalists.race.gains(self.row.number)


def limit_reached(limits: Limits, search: SearchRow | SearchState, now: float) -> bool:
    """Returns whether no further candidate is to be proposed.

    Hours count from the search's creation, pauses included.

    Args:
        limits: Of the search.
        search: Its row or its state.
        now: The database's time.
    """
    if search.exhausted:
        return True
    if limits.trials is not None and search.candidates_proposed >= limits.trials:
        return True
    return limits.hours is not None and now >= search.created_at + 3600 * limits.hours


def advance(tx: Transaction, state: SearchState) -> None:
    """Takes the search to its next stage if this one is over."""
    if state.is_study:
        _advance_study(tx, state)
        return
    if state.status is SearchStatus.STOPPING and not state.running:
        choose_best(tx, state)
        state.enter(SearchStatus.STOPPED, state.reason)
        return
    if state.status is not SearchStatus.RUNNING:
        return
    if not limit_reached(state.spec.limits, state, tx.now):
        return
    if state.candidates_open and not state.running and _nobody_left(tx, state):
        # A pool that comes now gets no baseline any more, so nobody will ever run them.
        cancel_open(tx, state, "no pool is left that could run it", kind=TrialKind.CANDIDATE)
    if state.candidates_open:
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
    if state.queued or state.running:
        return
    chosen = best_candidates(tx, state.id, state.spec.confirmations)
    finalists = read_finalists(tx, state.id, state.spec, chosen, moving=True)
    if not queue_wanted(tx, state, finalists):
        choose_best(tx, state)
        reason = "every genome within reach was tried" if state.exhausted else "limit reached"
        state.enter(SearchStatus.COMPLETED, reason)


def _nobody_left(tx: Transaction, state: SearchState) -> bool:
    """Returns whether every pool that has worked on the search takes no further part."""
    rows = baseline_rows(tx, state.id)
    return bool(rows) and all(row.failure for row in rows)


def _advance_study(tx: Transaction, state: SearchState) -> None:
    if state.kind == StudyKind.PROMOTION.value and state.status is SearchStatus.RUNNING:
        queue_next_runs(tx, state)
    if state.running or (state.queued and state.status is not SearchStatus.STOPPING):
        return
    if state.status is SearchStatus.STOPPING:
        state.enter(SearchStatus.STOPPED, state.reason)
    elif state.status is SearchStatus.RUNNING:
        state.enter(SearchStatus.COMPLETED, "every planned run has ended")


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


def best_of(tx: Transaction, search_id: str, spec: SearchSpec) -> Best | None:
    """Returns the best trial; None while no candidate has completed.

    Finalists are compared by their fresh runs alone; without any, the best single run leads.
    """
    finalists = read_finalists(tx, search_id, spec)
    leader = finalists.race.leader
    if leader is not None and finalists.race.finalist_runs(leader):
        pool = baseline_row(tx, search_id, finalists.race.pool_of(leader))
        return Best(finalists.rows[leader], finalists, pool)
    rows = best_candidates(tx, search_id, 1)
    if not rows:
        return None
    home = rows[0].pool
    return Best(rows[0], None, None if home is None else baseline_row(tx, search_id, home))


def choose_best(tx: Transaction, state: SearchState) -> None:
    """Writes the best trial on the search's row: the mean of its fresh runs where there are any."""
    best = best_of(tx, state.id, state.spec)
    if best is None:
        return
    gains = best.gains
    state.set(
        best_number=best.row.number,
        best_fitness=mean(gains) if gains else best.row.fitness,
        best_repeats=len(gains),
        best_deviation=standard_deviation(gains),
    )
