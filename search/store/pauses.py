"""Pauses of this process: seconds in which none of it ran, which nobody has waited in.

A virtual machine that is moved or saved, a laptop that hesitates, a SIGSTOP: the clock goes on, and
whoever looks at it afterwards would take the pause for a database that does not answer.
"""

from __future__ import annotations

import threading
import time

TICK_SECONDS = 0.25
LEAST_SECONDS = 1.0  # of a pause: a busy machine lets every thread run again sooner than that


class Pauses:
    """Tells a pause of the process from a wait, by a thread that should never be late."""

    def __init__(self) -> None:
        self._ticker: threading.Thread | None = None
        self._starting = threading.Lock()
        self._known = (0.0, 0.0)  # seconds of pauses, and when that was true

    def seconds(self) -> float:
        """Returns how many seconds the process has paused for since this was first asked."""
        if self._ticker is None or not self._ticker.is_alive():  # as in a forked child
            self._start()
        return self._seconds_at(time.monotonic())

    def _seconds_at(self, now: float) -> float:
        paused, then = self._known
        late = now - then - TICK_SECONDS
        return paused + late if late > LEAST_SECONDS else paused

    def _start(self) -> None:
        with self._starting:
            if self._ticker is None or not self._ticker.is_alive():
                self._known = (self._known[0], time.monotonic())
                self._ticker = threading.Thread(target=self._tick, name="pauses", daemon=True)
                self._ticker.start()

    def _tick(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            now = time.monotonic()  # once: a pause between two looks would be lost
            self._known = (self._seconds_at(now), now)


PAUSES = Pauses()
