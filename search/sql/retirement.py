"""A pool that will not come back: what becomes of the searches that used it.

A search's fitness is relative to each pool's own baseline, and repeats are paired within a pool. So
a finalist's fresh runs can begin again on another pool, all of them and beside that pool's rival,
but no single run can be carried over; and a study, whose blocks, rival and budget were chosen for
its pool, can only be started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, exists, func, select, update

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import UNENDED, baselines, searches, trials
from brainformer.search.sql.pools import OutOfWork, open_specs
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.rows.values import read_genome, read_proxy
from brainformer.search.sql.trials.baselines import (
    OF_BASELINE,
    baseline_rows,
    is_complete,
    retired_words,
)
from brainformer.search.sql.trials.cancellation import cancel_open, cancel_trial
from brainformer.search.sql.trials.completion import advance, choose_best, limit_reached
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.endings import put_back
from brainformer.search.sql.trials.finalists import read_finalists
from brainformer.search.sql.trials.state import SearchState, lock_unfinished
from brainformer.search.status import SearchStatus
from brainformer.search.store.records import LeftSearch
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.trial import OPEN, TrialKind, TrialStatus

OPEN_ON = (
    select(trials)
    .where(
        trials.c.search_id == bindparam("search"),
        trials.c.pool == bindparam("pool"),
        trials.c.status.in_([one.value for one in OPEN]),
    )
    .order_by(trials.c.number)
)
# Search by search, and by status: of a pool's trials next to all have ended. Planners do not know
# that, so the pool is said in a form that no index has.
HAVE_TRIALS = select(searches.c.id.label("search_id")).where(
    UNENDED,
    searches.c.queued + searches.c.running > 0,
    exists().where(
        trials.c.search_id == searches.c.id,
        trials.c.status.in_([one.value for one in OPEN]),
        func.coalesce(trials.c.pool, "") == bindparam("pool"),
    ),
)
HAVE_BASELINES = (
    select(baselines.c.search_id)
    .join(searches, searches.c.id == baselines.c.search_id)
    .where(UNENDED, baselines.c.pool == bindparam("pool"))
    .where(baselines.c.failure == bindparam("failure"))
)
MARK = update(baselines).where(
    baselines.c.search_id == bindparam("search"), baselines.c.pool == bindparam("of_pool")
)
PARENT = select(searches.c.parent_id).where(searches.c.id == bindparam("key"))


class SearchId(NamedTuple):
    """A search, by its id."""

    search_id: str


def leave_pool(
    tx: Transaction, pool: str, out: OutOfWork, *, waiting: bool = True
) -> list[LeftSearch]:
    """Takes a retired pool out of every open search that it still has a part in.

    Args:
        tx: Of the caller.
        pool: Retired.
        out: All pools out of work, this one too.
        waiting: Whether to end as well the searches that wait for it without ever having met it,
            which means reading every open spec.
    """
    found = {row.search_id for row in tx.all(SearchId, HAVE_TRIALS, {"pool": pool})}
    taking_part = {"pool": pool, "failure": ""}
    found |= {row.search_id for row in tx.all(SearchId, HAVE_BASELINES, taking_part)}
    if waiting:
        found |= {
            search_id
            for search_id, spec in open_specs(tx).items()
            if pool in spec.pools and set(spec.pools) <= out.retired.keys()
        }
    states = lock_unfinished(tx, ids=sorted(found)) if found else []
    return [_leave(tx, state, pool, out) for state in states]


def _leave(tx: Transaction, state: SearchState, pool: str, out: OutOfWork) -> LeftSearch:
    tx.run(MARK, {"search": state.id, "of_pool": pool, "failure": retired_words(pool)})
    before, back, moved, to = state.cancelled, 0, 0, None
    alone = _why_over(tx, state, pool, out)
    if alone:
        _end(tx, state, alone)
    else:
        lost, back = _empty(tx, state, pool)
        moved, to = _moves(tx, state, lost, pool)
        advance(tx, state)
    given_up = state.cancelled - before - moved
    told = {"put_back": back, "given_up": given_up, "moved": moved, "to": to}
    tx.emit(EventKind.POOL_RETIRED, state.id, pool=pool, **told)
    state.save()
    return LeftSearch(
        search_id=state.id,
        name=state.spec.name,
        kind=StudyKind(state.kind),
        status=state.status,
        reason=state.reason,
        put_back=back,
        given_up=given_up,
        moved=moved,
        to=to,
    )


def _why_over(tx: Transaction, state: SearchState, pool: str, out: OutOfWork) -> str:
    """Returns why a search has nobody left to serve it; empty if it goes on."""
    if state.is_study:
        others = _rivals_elsewhere(tx, state, out)
        where = f"on {' or '.join(others)}" if others else "once another pool has a baseline"
        return (
            f"pool {pool} was retired before every planned run had ended; losses compare only "
            f"within a pool, so start the {state.kind} again {where}"
        )
    named = state.spec.pools
    left_out = {row.pool for row in baseline_rows(tx, state.id) if row.failure}
    if named and set(named) <= out.retired.keys() | left_out:
        return f"{retired_words(pool)}, and no other pool may run this search"
    return ""


def _rivals_elsewhere(tx: Transaction, state: SearchState, out: OutOfWork) -> list[str]:
    parent: str = tx.run(PARENT, {"key": state.id}).scalar_one()
    return sorted(
        row.pool
        for row in baseline_rows(tx, parent)
        if is_complete(row) and not row.failure and row.pool not in out.retired
    )


def _end(tx: Transaction, state: SearchState, reason: str) -> None:
    """Ends a search: stopped where there is something to keep, failed where there is not."""
    cancel_open(tx, state, reason)
    kept = state.completed if state.is_study else state.candidates_finished
    if not state.is_study:
        choose_best(tx, state)
    stopped = kept or state.status is SearchStatus.STOPPING
    state.enter(SearchStatus.STOPPED if stopped else SearchStatus.FAILED, reason)


def _empty(tx: Transaction, state: SearchState, pool: str) -> tuple[list[TrialRow], int]:
    """Ends what is open on the pool; returns the trials cancelled and how many were put back."""
    lost, back = [], 0
    for row in tx.all(TrialRow, OPEN_ON, {"search": state.id, "pool": pool}):
        runs = row.status == TrialStatus.RUNNING.value
        goes_on = state.status is not SearchStatus.STOPPING
        if row.kind == TrialKind.CANDIDATE.value and runs and goes_on:
            put_back(tx, state, row, retired_words(pool))
            back += 1
        else:
            cancel_trial(tx, state, row, retired_words(pool))
            lost.append(row)
    return lost, back


def _moves(
    tx: Transaction, state: SearchState, lost: Sequence[TrialRow], pool: str
) -> tuple[int, str | None]:
    """Returns how many confirmations begin again elsewhere, and on which pool."""
    parents = [
        row.parent_number
        for row in lost
        if row.kind == TrialKind.CONFIRMATION.value and row.parent_number is not None
    ]
    if not parents:
        return 0, None
    race = read_finalists(tx, state.id, state.spec, moving=True).race
    homes = [home for one in parents if (home := race.pool_of(one)) != pool]
    return len(homes), (homes[0] if homes else None)


def rejoin(tx: Transaction, pool: str) -> None:
    """Gives a pool that is back its part in the open searches that it has left."""
    words = retired_words(pool)
    found = [
        row.search_id for row in tx.all(SearchId, HAVE_BASELINES, {"pool": pool, "failure": words})
    ]
    for state in lock_unfinished(tx, ids=sorted(found)) if found else []:
        tx.run(MARK, {"search": state.id, "of_pool": pool, "failure": ""})
        if not limit_reached(state.spec.limits, state, tx.now):
            _run_baseline_on(tx, state, pool)
        tx.emit(EventKind.POOL_RETURNED, state.id, pool=pool)
        advance(tx, state)
        state.save()


def _run_baseline_on(tx: Transaction, state: SearchState, pool: str) -> None:
    """Queues again the runs of a baseline that its pool's retirement cut off."""
    rows = tx.all(TrialRow, OF_BASELINE, {"search": state.id, "pool": pool})
    cut = [row for row in rows if row.message == retired_words(pool)]
    there = {_place(row) for row in rows if row.message != retired_words(pool)}
    for place, row in {_place(row): row for row in cut}.items():
        if place not in there:
            new_trial(
                tx,
                state,
                TrialKind.BASELINE,
                read_genome(row.genome),
                pool=pool,
                origin=row.origin,
                repeat=row.repeat,
                proxy=None if row.proxy is None else read_proxy(row.proxy),
                label=row.label,
            )


def _place(row: TrialRow) -> tuple[str, int | None, str, str]:
    """Returns which of the baseline's runs a trial is."""
    return row.origin, row.repeat, row.digest, row.label
