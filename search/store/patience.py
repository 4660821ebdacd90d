"""How long a caller waits: whatever the store does for them has ended by then, well or not.

A database can go silent without an error: packets vanish, or somebody holds a lock. A call that
waits for it must end nevertheless, and say so, while the caller still listens. A pause of the whole
process is no wait (`pauses`).
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field

from brainformer.search.store.pauses import PAUSES

ANSWER_SECONDS = 8.0  # callers are answered within 10 s, whatever the database does
# Of the patience, what work must still have when it begins: what is broken off has cost as much as
# what succeeds, and on PostgreSQL its connection.
LEAST_SHARE = 0.25


@dataclass(slots=True)
class Patience:
    """The patience of one caller.

    Attributes:
        ends: When it ends by the monotonic clock, had the process not paused since; None once there
            is no hurry any more.
        whole: How many seconds it was, of the shortest of the blocks around.
    """

    ends: float | None
    whole: float = ANSWER_SECONDS
    _paused: float = field(default_factory=PAUSES.seconds)  # when it began

    def left(self) -> float | None:
        """Returns how many seconds of it are left, below 0 if none; None without a hurry."""
        if self.ends is None:
            return None
        return self.ends + PAUSES.seconds() - self._paused - time.monotonic()

    def too_late(self) -> bool:
        """Returns whether too little of it is left for work to begin."""
        left = self.left()
        return left is not None and left < LEAST_SHARE * self.whole

    def renew(self, seconds: float = ANSWER_SECONDS) -> None:
        """Starts counting again: the wait so far was not for the database."""
        self.ends, self._paused = time.monotonic() + seconds, PAUSES.seconds()

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
        left, whole = self._seconds, self._seconds
        if around is not None and (of_theirs := around.left()) is not None:
            left, whole = min(left, of_theirs), min(whole, around.whole)
        mine = Patience(time.monotonic() + left, whole)
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
    left = None if present is None else present.left()
    return None if left is None else max(0.0, left)


def too_late() -> bool:
    """Returns whether the present caller has waited too long for work to begin."""
    present = _present.get()
    return present is not None and present.too_late()


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
