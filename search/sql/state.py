"""One search's row, locked for a transaction: counters move in memory and are written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select, update

from search.errors import NotFound
from search.spec import SearchSpec, SearchStatus
from search.sql.database import Transaction
from search.sql.rows import ENDED, read_spec
from search.tables import searches
from search.trial import TrialStatus

BY_ID = select(searches).where(searches.c.id == bindparam("key"))
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

    def move(self, old: str | None, new: str) -> None:
        """Moves one trial between the counters of two statuses."""
        if old is not None:
            self.add(**{old: -1})
        self.add(**{new: 1})

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
        """Changes the status, with its event."""
        self.set(status=status.value, reason=reason)
        if status.value in ENDED:
            self.set(finished_at=self.tx.now)
        self.tx.emit("search.status", self.id, status=status.value, reason=reason)

    def save(self) -> None:
        """Writes what changed."""
        if not self._changed:
            return
        self.set(version=self.values["version"] + 1, updated_at=self.tx.now)
        values = {name: self.values[name] for name in sorted(self._changed)}
        self.tx.run(update(searches).where(searches.c.id == self.id).values(values))
        self._changed.clear()


def lock_search(tx: Transaction, search_id: str) -> SearchState:
    """Returns the search, held until the transaction ends.

    Raises:
        NotFound: there is none of that id.
    """
    statement = BY_ID.with_for_update() if tx.postgres else BY_ID
    row = tx.run(statement, {"key": search_id}).one_or_none()
    if row is None:
        raise NotFound("search", search_id)
    return SearchState(tx, row)


def lock_unfinished(tx: Transaction) -> list[SearchState]:
    """Returns every unfinished search, held, always in the same order."""
    statement = UNFINISHED.order_by(searches.c.ordinal)
    if tx.postgres:
        statement = statement.with_for_update()
    return [SearchState(tx, row) for row in tx.run(statement)]


def save_all(states: Sequence[SearchState]) -> None:
    """Writes what changed in several searches."""
    for state in states:
        state.save()


OPEN_STATUSES = (TrialStatus.QUEUED.value, TrialStatus.RUNNING.value)
