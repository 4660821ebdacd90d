"""Outages: while the database cannot be written, no heartbeat arrives, so no silence counts.

A lease expires only when its worker had a whole lease's time to be heard in: since the controller
started, since the database came back, and since the controller was last frozen. A process that was
stopped, or a machine that was suspended, hears nobody; the first to look afterwards sees that
nothing has moved for a while, or that the database's time has run ahead of this machine's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from brainformer.search.storage_errors import StorageBusy, StorageHeld, StorageUnavailable

LATE_SECONDS = 3.0  # a controller that has not moved for so long was frozen
# Counts on while the machine is suspended, where the system can tell.
BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds_since_boot() -> float:
    """Returns this machine's time."""
    return time.clock_gettime(BOOT_CLOCK)


class Outage:
    """Whether writing has failed, and since when it works again.

    Args:
        clock: This machine's time; None if the database's is given by a test, so that they cannot
            be compared.
    """

    def __init__(self, clock: Callable[[], float] | None = seconds_since_boot) -> None:
        self._failed = True  # a controller that starts counts as one that comes back
        self._serving_since = 0.0
        self._clock = clock
        self._pulse: float | None = None
        self._ahead: float | None = None  # by how much the database's time is ahead of the clock
        self._lock = threading.Lock()

    def failed(self, error: StorageUnavailable) -> None:
        """Notes a failure to write; one that only lost a race for a lock is none."""
        if isinstance(error, StorageHeld) or not isinstance(error, StorageBusy):
            self._failed = True

    def pulse(self) -> None:
        """Says that requests are being served; to be said every second, once it is said at all."""
        with self._lock:
            self._look()
            self._pulse = self._clock() if self._clock else None

    def served(self, now: float) -> float:
        """Returns since when the database has been written without a break.

        Args:
            now: The database's time.
        """
        with self._lock:
            self._look()
            if self._clock is not None:
                ahead = now - self._clock()
                if self._ahead is not None and ahead - self._ahead > LATE_SECONDS:
                    self._failed = True
                self._ahead = ahead
            if self._failed or now < self._serving_since:  # or the clock was set back
                self._failed, self._serving_since = False, now
            return self._serving_since

    def _look(self) -> None:
        """Notes if this process has stood still."""
        if self._clock is None or self._pulse is None:
            return
        if self._clock() - self._pulse > LATE_SECONDS:
            self._failed = True
            self._pulse = self._clock()
