"""One search's row, locked for a transaction: counters move in memory and are written once.

Whoever changes a trial holds its search first, so that counters, ranks and sequence numbers are
given one after another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, NamedTuple, TypedDict, Unpack, cast

from sqlalchemy import Double, Select, bindparam, literal_column, select

from brainformer.search.errors import IllegalTransition, NotFound
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.connection.clock import POSTGRES_CLOCK
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import UNENDED, searches, trials
from brainformer.search.sql.rows.table_rows import SearchRow, TrialRow
from brainformer.search.sql.rows.values import read_spec
from brainformer.search.sql.trials.attempts import require_granted
from brainformer.search.status import SEARCH_TRANSITIONS, SearchStatus
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.trial import TRIAL_TRANSITIONS, TrialStatus

TRIAL = select(trials).where(trials.c.id == bindparam("key"))
BY_ID = select(searches).where(searches.c.id == bindparam("key"))
_owner = select(trials.c.search_id).where(trials.c.id == bindparam("key")).scalar_subquery()
BY_TRIAL = select(searches).where(searches.c.id == _owner)
TRIALS = (
    select(trials).where(trials.c.id.in_(bindparam("keys", expanding=True))).order_by(trials.c.id)
)
OWNERS = select(trials.c.id, trials.c.search_id, trials.c.status).where(
    trials.c.id.in_(bindparam("keys", expanding=True))
)
UNFINISHED = select(searches).where(UNENDED).order_by(searches.c.ordinal)


def _held(search: Select[Any]) -> Select[Any]:
    """Returns the query that locks what `search` finds, with the time.

    The clock is read when the lock is held: what a locking query yields is never inlined.
    """
    held = search.with_for_update().cte("held")
    return select(held, literal_column(POSTGRES_CLOCK, Double).label("clock"))


HELD, HELD_BY_TRIAL = _held(BY_ID), _held(BY_TRIAL)


class Counters(TypedDict, total=False):
    """Columns of `searches` that count."""

    next_number: int
    trial_seq: int
    candidates_proposed: int
    candidates_finished: int
    candidates_open: int


class Changes(TypedDict, total=False):
    """Columns of `searches` that are set."""

    reason: str
    dataset_hash: str
    finished_at: float
    exhausted: bool
    confirming: bool
    best_number: int
    best_fitness: float | None
    best_repeats: int
    best_deviation: float | None
    plan: str


class SearchState:
    """A search within a transaction that may change it.

    Its columns are attributes, to be read. They change by `set`, `add`, `move`, `enter` and
    `change_spec`, which note what `save` has to write.
    """

    id: str
    ordinal: int
    reason: str
    dataset_hash: str | None
    version: int
    created_at: float
    next_number: int
    trial_seq: int
    queued: int
    running: int
    completed: int
    cancelled: int
    candidates_proposed: int
    candidates_finished: int
    candidates_open: int
    exhausted: bool
    confirming: bool
    best_number: int | None
    best_fitness: float | None
    best_repeats: int
    kind: str
    plan: str | None

    def __init__(self, tx: Transaction, row: SearchRow) -> None:
        self.__dict__.update(zip(SearchRow._fields, row, strict=False))
        self.tx = tx
        self.status = SearchStatus(row.status)
        self.spec: SearchSpec = read_spec(row.spec)
        self.spec_text = row.spec
        self._changed: dict[str, object] = {}

    @property
    def unchanged(self) -> bool:
        """Whether there is nothing to save."""
        return not self._changed

    @property
    def is_study(self) -> bool:
        """Whether its trials are all planned: it has no baseline and proposes nothing."""
        return self.kind != StudyKind.SEARCH.value

    def set(self, **values: Unpack[Changes]) -> None:
        """Changes columns."""
        self.__dict__.update(values)
        self._changed.update(values)

    def add(self, **deltas: Unpack[Counters]) -> None:
        """Moves counters."""
        for name, delta in deltas.items():
            self._count(name, cast("int", delta))

    def _count(self, name: str, delta: int) -> None:
        self._changed[name] = self.__dict__[name] = self.__dict__[name] + delta

    def move(self, old: TrialStatus | None, new: TrialStatus) -> None:
        """Moves one trial between the counters of two statuses.

        Raises:
            IllegalTransition: the table of transitions does not hold it.
        """
        if old is not None:
            if new not in TRIAL_TRANSITIONS[old]:
                raise IllegalTransition("trial of search", self.id, old.value, new.value)
            self._count(old.value, -1)
        self._count(new.value, 1)

    def take_seq(self) -> int:
        """Returns the next number in the order of changes of this search's trials."""
        self.add(trial_seq=1)
        return self.trial_seq

    def take_number(self) -> int:
        """Returns the next trial's number."""
        number = self.next_number
        self.add(next_number=1)
        return number

    def enter(self, status: SearchStatus, reason: str = "") -> None:
        """Changes the status, with its event.

        Raises:
            IllegalTransition: the table of transitions does not hold it.
        """
        if status not in SEARCH_TRANSITIONS[self.status]:
            raise IllegalTransition("search", self.id, self.status.value, status.value)
        self.status = status
        self._changed["status"] = status.value
        self.set(reason=reason)
        if status.ended:
            self.set(finished_at=self.tx.now)
        self.tx.emit(EventKind.SEARCH_STATUS, self.id, status=status.value, reason=reason)

    def change_spec(self, spec: SearchSpec) -> None:
        """Replaces the spec."""
        self.spec = spec
        self.spec_text = self._changed["spec"] = spec.model_dump_json()

    def save(self) -> None:
        """Writes what changed."""
        if not self._changed:
            return
        self._count("version", 1)
        self._changed["updated_at"] = self.tx.now
        # In one order, so that equal changes are one statement.
        self.tx.change(searches, self.id, dict(sorted(self._changed.items())))
        self._changed.clear()


class OwnerRow(NamedTuple):
    """Which search a trial is of, and how it stands."""

    id: int
    search_id: str
    status: str


class HeldTrial(NamedTuple):
    """A trial with its search, both held until the transaction ends.

    Attributes:
        held: Whether the lease that was asked for is the one that runs the trial.
    """

    state: SearchState
    row: TrialRow
    held: bool


def lock_search(tx: Transaction, search_id: str) -> SearchState:
    """Returns the search, held until the transaction ends.

    Raises:
        NotFound: there is none of that id.
    """
    state = _lock(tx, HELD if tx.postgres else BY_ID, search_id)
    if state is None:
        raise NotFound("search", search_id)
    return state


def _lock(tx: Transaction, statement: Select[Any], key: str | int) -> SearchState | None:
    row = tx.run(statement, {"key": key}).first()
    if row is None:
        return None
    if tx.postgres:
        tx.tell_time(row.clock)
    return SearchState(tx, cast("SearchRow", row))


def read_trial(tx: Transaction, trial_id: int) -> TrialRow | None:
    """Returns the trial's row, held against heartbeats too; None if there is none."""
    statement = TRIAL.with_for_update() if tx.postgres else TRIAL
    return tx.first(TrialRow, statement, {"key": trial_id})


def lock_held_trial(tx: Transaction, lease: LeaseId) -> HeldTrial:
    """Returns search and trial of a lease, and whether the lease still holds the trial.

    Raises:
        NotFound: there is no such lease.
    """
    state = _lock(tx, HELD_BY_TRIAL if tx.postgres else BY_TRIAL, lease.trial_id)
    row = None if state is None else read_trial(tx, lease.trial_id)
    if state is None or row is None:
        raise NotFound("trial", lease.trial_id)
    require_granted(tx, row, lease)
    held = row.status == TrialStatus.RUNNING.value and row.attempt == lease.attempt
    return HeldTrial(state, row, held)


class HeldTrials(NamedTuple):
    """Trials, held with their searches until the transaction ends.

    Attributes:
        states: Their searches by id, without those that have ended.
        rows: The trials by id; one that does not run may not be held.
        busy: Running trials whose search somebody else holds, with its id.
    """

    states: dict[str, SearchState]
    rows: dict[int, TrialRow]
    busy: dict[int, str]


def lock_trials(tx: Transaction, trial_ids: Collection[int]) -> HeldTrials:
    """Returns trials with their searches; what is not there is left out.

    Waits for a search that somebody holds only if all trials are its own: the others' should not
    wait for it.
    """
    found = tx.all(OwnerRow, OWNERS, {"keys": sorted(trial_ids)})
    owners = {row.id: row.search_id for row in found}
    ids = sorted(set(owners.values()))
    alone = len(ids) == 1
    if alone:
        held = wait_for_unfinished(tx, ids[0])
    else:
        held = lock_unfinished(tx, ids=ids, skip_locked=True) if ids else []
    states = {state.id: state for state in held}
    others = [row for row in found if row.search_id not in states]
    running = TrialStatus.RUNNING.value
    busy = {row.id: row.search_id for row in others if row.status == running and not alone}
    rows = _trials(tx, [key for key, owner in owners.items() if owner in states], held=True)
    rows |= _trials(tx, [row.id for row in others if row.id not in busy], held=False)
    return HeldTrials(states, rows, busy)


def _trials(tx: Transaction, ids: Sequence[int], *, held: bool) -> dict[int, TrialRow]:
    if not ids:
        return {}
    statement = TRIALS.with_for_update() if held and tx.postgres else TRIALS
    return {row.id: TrialRow(*row) for row in tx.all(TrialRow, statement, {"keys": ids})}


def lock_unfinished(
    tx: Transaction, *, ids: Sequence[str] | None = None, skip_locked: bool = False
) -> list[SearchState]:
    """Returns unfinished searches, held, always in the same order.

    Args:
        tx: Holds them until it ends.
        ids: Only these; all by default.
        skip_locked: On PostgreSQL, leave out those that another transaction holds.
    """
    statement = _unfinished(ids is not None, tx.postgres, skip_locked)
    values = None if ids is None else {"keys": ids}
    return [SearchState(tx, row) for row in tx.all(SearchRow, statement, values)]


def wait_for_unfinished(tx: Transaction, search_id: str) -> list[SearchState]:
    """Returns the search, held, if it has not ended; the time is read again after the wait."""
    if not tx.postgres:
        return lock_unfinished(tx, ids=[search_id])
    tx.forget_time()
    state = _lock(tx, HELD, search_id)
    return [] if state is None or state.status.ended else [state]


@cache
def _unfinished(named: bool, locked: bool, skip_locked: bool) -> Select[Any]:
    """Returns a statement that is made once: to build it takes as long as to execute it."""
    statement = UNFINISHED
    if named:
        statement = statement.where(searches.c.id.in_(bindparam("keys", expanding=True)))
    return statement.with_for_update(skip_locked=skip_locked) if locked else statement


def save_all(states: Sequence[SearchState]) -> None:
    """Writes what changed in several searches."""
    for state in states:
        state.save()
