"""Outages: while the database cannot be written, no heartbeat arrives, so no silence counts.

A lease lapses only when its worker had a whole lease's time to be heard in: since the controller
started, and since the database came back.
"""

from __future__ import annotations

import threading

from brainformer.search.errors import StorageBusy, StorageUnavailable


class Outage:
    """Whether writing has failed, and since when it works again."""

    def __init__(self) -> None:
        self._failed = True  # a controller that starts counts as one that comes back
        self._serving_since = 0.0
        self._lock = threading.Lock()

    def failed(self, error: StorageUnavailable) -> None:
        """Notes a failure to write; one that only lost a race for a lock is none."""
        if not isinstance(error, StorageBusy):
            self._failed = True

    def served(self, now: float) -> float:
        """Returns since when the database has been written without a break."""
        with self._lock:
            if self._failed or now < self._serving_since:  # or the clock was set back
                self._failed, self._serving_since = False, now
            return self._serving_since
