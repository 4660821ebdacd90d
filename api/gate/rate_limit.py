"""A token bucket for each client: bursts are fine, a flood is refused."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 10_000


class RateLimit:
    """Allows `rate` calls a second in the long run, and `burst` at once, for each client."""

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        # client -> (calls left, when they were counted); the least recent client is forgotten.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Counts a call; returns 0 if it is allowed, else the seconds until it would be."""
        with self._lock:
            left = self._refilled(client)
            allowed = left >= 1
            self._left[client] = (left - 1 if allowed else left, self._clock())
            self._left.move_to_end(client)
            if len(self._left) > MAX_CLIENTS:
                self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate

    def exhausted(self, client: str) -> float:
        """Returns the seconds until a call would be allowed (0: now) without counting one."""
        with self._lock:
            left = self._refilled(client)
        return 0.0 if left >= 1 else (1 - left) / self._rate

    def _refilled(self, client: str) -> float:
        left, counted = self._left.get(client, (self._burst, self._clock()))
        return min(self._burst, left + (self._clock() - counted) * self._rate)
