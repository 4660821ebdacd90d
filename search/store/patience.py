"""How long a caller waits: whatever the store does for them has ended by then, well or not.

A database can go silent without an error: packets vanish, or somebody holds a lock. A call that
waits for it must end nevertheless, and say so, while the caller still listens.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass

ANSWER_SECONDS = 8.0  # callers are answered within 10 s, whatever the database does
# Of the patience, what work must still have when it begins: what is broken off has cost as much as
# what succeeds, and on PostgreSQL its connection.
LEAST_SHARE = 0.25


@dataclass(slots=True)
class Patience:
    """The patience of one caller.

    Attributes:
        ends: When it ends, by the monotonic clock; None once there is no hurry any more.
        whole: How many seconds it was, of the shortest of the blocks around.
    """

    ends: float | None
    whole: float = ANSWER_SECONDS

    def renew(self, seconds: float = ANSWER_SECONDS) -> None:
        """Starts counting again: the wait so far was not for the database."""
        self.ends = time.monotonic() + seconds

    def lengthen(self, seconds: float) -> None:
        """Does not count so many seconds: the caller has taken them."""
        if self.ends is not None:
            self.ends += seconds

    def answered(self) -> None:
        """Says that the caller has their answer: what follows, such as a stream, may take long."""
        self.ends = None


_present: ContextVar[Patience | None] = ContextVar("patience", default=None)


class _Block:
    """A block with a patience; a class, for every transaction is in one."""

    __slots__ = ("_mark", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> Patience:
        around = _present.get()
        ends, whole = time.monotonic() + self._seconds, self._seconds
        if around is not None and around.ends is not None:
            ends, whole = min(ends, around.ends), min(whole, around.whole)
        mine = Patience(ends, whole)
        self._mark = _present.set(mine)
        return mine

    def __exit__(self, *raised: object) -> None:
        _present.reset(self._mark)


def patience(seconds: float = ANSWER_SECONDS) -> AbstractContextManager[Patience]:
    """Ends every wait within the block in time, and no later than a block around it says."""
    return _Block(seconds)


def seconds_left() -> float | None:
    """Returns how long the present caller still waits, not below 0; None without a hurry."""
    present = _present.get()
    if present is None or present.ends is None:
        return None
    return max(0.0, present.ends - time.monotonic())


def too_late() -> bool:
    """Returns whether the present caller has waited too long for work to begin."""
    present = _present.get()
    if present is None or present.ends is None:
        return False
    return present.ends - time.monotonic() < LEAST_SHARE * present.whole


def renew() -> None:
    """Renews the present caller's patience, if there is a caller."""
    present = _present.get()
    if present is not None:
        present.renew()


def lengthen(seconds: float) -> None:
    """Does not count so many seconds of the present caller's patience, if there is a caller."""
    present = _present.get()
    if present is not None:
        present.lengthen(seconds)
