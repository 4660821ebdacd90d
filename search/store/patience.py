"""How long a caller waits: whatever the store does for them has ended by then, well or not.

A database can go silent without an error: packets vanish, or somebody holds a lock. A call that
waits for it must end nevertheless, and say so, while the caller still listens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

ANSWER_SECONDS = 8.0  # callers are answered within 10 s, whatever the database does


@dataclass
class Patience:
    """The patience of one caller.

    Attributes:
        ends: When it ends, by the monotonic clock; None once there is no hurry any more.
    """

    ends: float | None

    def renew(self, seconds: float = ANSWER_SECONDS) -> None:
        """Starts counting again: the wait so far was not for the database."""
        self.ends = time.monotonic() + seconds

    def answered(self) -> None:
        """Says that the caller has their answer: what follows, such as a stream, may take long."""
        self.ends = None


_present: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def patience(seconds: float = ANSWER_SECONDS) -> Iterator[Patience]:
    """Ends every wait within the block in time, and no later than a block around it says."""
    around = _present.get()
    ends = time.monotonic() + seconds
    if around is not None and around.ends is not None:
        ends = min(ends, around.ends)
    mine = Patience(ends)
    mark = _present.set(mine)
    try:
        yield mine
    finally:
        _present.reset(mark)


def seconds_left() -> float | None:
    """Returns how long the present caller still waits, not below 0; None without a hurry."""
    present = _present.get()
    if present is None or present.ends is None:
        return None
    return max(0.0, present.ends - time.monotonic())


def renew() -> None:
    """Renews the present caller's patience, if there is a caller."""
    present = _present.get()
    if present is not None:
        present.renew()
