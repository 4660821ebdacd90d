"""Repeats that somebody asks for: a candidate's block run once more, beside the search's own runs.

They show how much a block's figures vary. They are no part of the race among finalists, nor of the
best: who asks has seen the results, and runs that are added until they please would flatter.
"""

from __future__ import annotations

from sqlalchemy import select

from brainformer.search.errors import Conflict
from brainformer.search.spec import ASK_TELL_POOL
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.pools import OutOfWork
from brainformer.search.sql.reading.listings import one_trial
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.rows.values import read_genome
from brainformer.search.sql.searches import find
from brainformer.search.sql.studies.study import check_manned
from brainformer.search.sql.tokens import audit_action
from brainformer.search.sql.trials.baselines import baseline_row, is_complete
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.finalists import free_repeats
from brainformer.search.sql.trials.state import SearchState, lock_search
from brainformer.search.status import SearchStatus
from brainformer.search.store.actor import Actor
from brainformer.search.trials.trial import OPEN, TrialKind, TrialStatus

# The repeats asked for have the same seeds for every block, and none that a race could draw.
FIRST_ASKED = 1_000_000
MOST_OPEN = 8
ASKED = "asked"  # origin of such a trial
TAKES_MORE = frozenset({SearchStatus.RUNNING, SearchStatus.PAUSED})


def create_repeat(
    tx: Transaction, named: str, number: int, *, out: OutOfWork, actor: Actor
) -> TrialRow:
    """Queues a candidate's block once more, with a fresh seed, on the pool that it ran on.

    Args:
        tx: Of the caller.
        named: The search, by id or name.
        number: Of the candidate.
        out: Pools that take no work.
        actor: Who asks.

    Raises:
        NotFound: there is no such search or trial.
        Conflict: the search takes no more trials, the trial is not a candidate that has ended, or
            nobody works on its pool.
    """
    state = lock_search(tx, find(tx, named).id)
    row = one_trial(tx, state.id, number)
    pool = _repeatable(tx, state, row)
    check_manned(tx, pool, out)
    before = repeats_of(tx, state.id, number)
    if sum(one.status in OPEN for one in before) >= MOST_OPEN:
        raise Conflict(f"{MOST_OPEN} repeats of trial {number} have not ended yet; wait for one")
    made = new_trial(
        tx,
        state,
        TrialKind.REPEAT,
        read_genome(row.genome),
        pool=pool,
        origin=ASKED,
        parent=number,
        repeat=next(free_repeats(before, FIRST_ASKED)),
    )
    audit_action(tx, actor, "trial.repeat", state.id)
    state.save()
    return one_trial(tx, state.id, made.number)


def repeats_of(tx: Transaction, search_id: str, number: int) -> list[TrialRow]:
    """Returns the repeats of a trial that were asked for, oldest first."""
    asked = (
        select(trials)
        .where(
            trials.c.search_id == search_id,
            trials.c.kind == TrialKind.REPEAT.value,
            trials.c.parent_number == number,
        )
        .order_by(trials.c.number)
    )
    return tx.all(TrialRow, asked)


def _repeatable(tx: Transaction, state: SearchState, row: TrialRow) -> str:
    """Returns the pool that a trial is repeated on.

    Raises:
        Conflict: it cannot be repeated; says why, and what to do.
    """
    number = row.number
    if state.status not in TAKES_MORE:
        raise Conflict(
            f"search {state.id} is {state.status.value} and takes no more trials; start another "
            f"search with the block of trial {number} as a seed"
        )
    if row.kind in {TrialKind.REPEAT.value, TrialKind.CONFIRMATION.value}:
        of = "the baseline" if row.parent_number is None else f"trial {row.parent_number}"
        raise Conflict(f"trial {number} is a repeat of {of} itself; repeat a candidate")
    if row.kind != TrialKind.CANDIDATE.value:
        raise Conflict(f"trial {number} is a {row.kind} trial; only candidates are repeated")
    if not TrialStatus(row.status).ended:
        raise Conflict(f"trial {number} is {row.status}; repeat it when it has ended")
    if row.pool == ASK_TELL_POOL:
        raise Conflict(f"trial {number} was evaluated by the search's caller; let it ask again")
    if row.pool is None:
        raise Conflict(f"trial {number} never ran, so there is nothing to repeat")
    baseline = baseline_row(tx, state.id, row.pool)
    if is_complete(baseline) and baseline.failure:
        raise Conflict(f"trial {number} cannot be repeated: {baseline.failure}")
    if not is_complete(baseline):
        raise Conflict(
            f"trial {number} ran on pool {row.pool}, which has no baseline in this search, so a "
            "repeat would have no fitness"
        )
    return row.pool
