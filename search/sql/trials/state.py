"""One search's row, locked for a transaction: counters move in memory and are written once.

Whoever changes a trial holds its search first, so that counters, ranks and sequence numbers are
given one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Double, bindparam, literal_column, select

from brainformer.search.errors import IllegalTransition, NotFound
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.connection.database import POSTGRES_CLOCK, Transaction
from brainformer.search.sql.connection.tables import searches, trials
from brainformer.search.sql.rows.values import read_spec
from brainformer.search.status import ENDED, SEARCH_TRANSITIONS, SearchStatus
from brainformer.search.trials.lease_rules import parse_lease_id
from brainformer.search.trials.trial import TRIAL_TRANSITIONS, TrialStatus

TRIAL = select(trials).where(trials.c.id == bindparam("key"))
OWNER = select(trials.c.search_id).where(trials.c.id == bindparam("key"))
BY_ID = select(searches).where(searches.c.id == bindparam("key"))
# The clock is read when the lock is held: what a locking query yields is never inlined.
_held = BY_ID.with_for_update().cte("held")
HELD = select(_held, literal_column(POSTGRES_CLOCK, Double).label("clock"))
UNFINISHED = select(searches).where(searches.c.status.notin_(sorted(ENDED)))


class SearchState:
    """A search within a transaction that may change it."""

    def __init__(self, tx: Transaction, row: Any) -> None:
        self.tx = tx
        self.values: dict[str, Any] = dict(row._mapping)
        self.id: str = row.id
        self.spec: SearchSpec = read_spec(row.spec)
        self._changed: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def set(self, **values: Any) -> None:
        """Changes columns."""
        self.values.update(values)
        self._changed.update(values)

    def add(self, **deltas: int) -> None:
        """Moves counters."""
        self.set(**{name: self.values[name] + delta for name, delta in deltas.items()})

    def move(self, old: TrialStatus | None, new: TrialStatus) -> None:
        """Moves one trial between the counters of two statuses.

        Raises:
            IllegalTransition: the table of transitions does not hold it.
        """
        if old is not None:
            if new not in TRIAL_TRANSITIONS[old]:
                raise IllegalTransition("trial of search", self.id, old.value, new.value)
            self.add(**{old.value: -1})
        self.add(**{new.value: 1})

    def next_seq(self) -> int:
        """Returns the next number in the order of changes of this search's trials."""
        self.add(trial_seq=1)
        return int(self.values["trial_seq"])

    def next_number(self) -> int:
        """Returns the next trial's number."""
        number = int(self.values["next_number"])
        self.add(next_number=1)
        return number

    @property
    def status(self) -> SearchStatus:
        """Where the search stands."""
        return SearchStatus(self.values["status"])

    def enter(self, status: SearchStatus, reason: str = "") -> None:
        """Changes the status, with its event.

        Raises:
            IllegalTransition: the table of transitions does not hold it.
        """
        if status not in SEARCH_TRANSITIONS[self.status]:
            raise IllegalTransition("search", self.id, self.status.value, status.value)
        self.set(status=status.value, reason=reason)
        if status.ended:
            self.set(finished_at=self.tx.now)
        self.tx.emit("search.status", self.id, status=status.value, reason=reason)

    def save(self) -> None:
        """Writes what changed."""
        if not self._changed:
            return
        self.set(version=self.values["version"] + 1, updated_at=self.tx.now)
        values = {name: self.values[name] for name in sorted(self._changed)}
        self.tx.change(searches, self.id, values)
        self._changed.clear()


def lock_search(tx: Transaction, search_id: str) -> SearchState:
    """Returns the search, held until the transaction ends.

    Raises:
        NotFound: there is none of that id.
    """
    row = tx.run(HELD if tx.postgres else BY_ID, {"key": search_id}).one_or_none()
    if row is None:
        raise NotFound("search", search_id)
    if tx.postgres:
        tx.tell_time(row.clock)
    return SearchState(tx, row)


def lock_trial(tx: Transaction, trial_id: int) -> tuple[SearchState, Any]:
    """Returns a trial's search and its row, both held until the transaction ends.

    Raises:
        NotFound: there is no such trial.
    """
    search_id = tx.run(OWNER, {"key": trial_id}).scalar()
    if search_id is None:
        raise NotFound("trial", trial_id)
    state = lock_search(tx, search_id)
    row = read_trial(tx, trial_id)
    if row is None:
        raise NotFound("trial", trial_id)
    return state, row


def read_trial(tx: Transaction, trial_id: int) -> Any:
    """Returns the trial's row, held against heartbeats too; None if there is none."""
    statement = TRIAL.with_for_update() if tx.postgres else TRIAL
    return tx.run(statement, {"key": trial_id}).one_or_none()


def lock_held_trial(tx: Transaction, lease_id: str) -> tuple[SearchState, Any, int, bool]:
    """Returns search and trial of a lease, its attempt, and whether that still holds the trial.

    Raises:
        NotFound: there is no such lease.
    """
    trial_id, attempt = parse_lease_id(lease_id)
    state, row = lock_trial(tx, trial_id)
    if attempt > row.attempt:
        raise NotFound("lease", lease_id)
    return state, row, attempt, holds(row, attempt)


def holds(row: Any, attempt: int) -> bool:
    """Returns whether the attempt is the one that runs the trial."""
    return bool(row.status == TrialStatus.RUNNING.value and row.attempt == attempt)


def lock_unfinished(
    tx: Transaction, *, ids: Sequence[str] | None = None, skip_locked: bool = False
) -> list[SearchState]:
    """Returns unfinished searches, held, always in the same order.

    Args:
        tx: Holds them until it ends.
        ids: Only these; all by default.
        skip_locked: On PostgreSQL, leave out those that another transaction holds.
    """
    statement = UNFINISHED.order_by(searches.c.ordinal)
    if ids is not None:
        statement = statement.where(searches.c.id.in_(ids))
    if tx.postgres:
        statement = statement.with_for_update(skip_locked=skip_locked)
    return [SearchState(tx, row) for row in tx.run(statement)]


def save_all(states: Sequence[SearchState]) -> None:
    """Writes what changed in several searches."""
    for state in states:
        state.save()
