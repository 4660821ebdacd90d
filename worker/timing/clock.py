"""Clocks: the only way by which this package learns the time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic source of seconds; tests pass one that they move by hand."""

    def now(self) -> float:
        """Returns seconds since an arbitrary origin; never runs backwards."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Returns seconds of real time."""
        return time.perf_counter()


class ProcessorClock:
    """Seconds of processor time that this process has used, over all its threads.

    For a trial that owns one core this is the time that a quiet machine would have taken: what
    a neighbour takes away by preemption does not appear in it.
    """

    def now(self) -> float:
        """Returns seconds of processor time."""
        return time.process_time()
