"""SIGTERM and Ctrl-C: the first saves the run and ends it, the second ends it at once.

A thread looks for them, since no Python handler runs while XLA compiles or computes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """What has arrived so far."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.number: int | None = None

    def arrived(self, number: int) -> None:
        """Notes a signal; the second one ends the process."""
        if self.number is not None:
            os._exit(128 + number)
        self.number = number
        self.event.set()

    @property
    def interrupted(self) -> bool:
        """Whether it was Ctrl-C."""
        return self.number == signal.SIGINT


@contextmanager
def stop_on_signals() -> Iterator[StopSignal]:
    """Yields what is set by the first signal; the handlers of before are back afterwards.

    Call it on the main thread.
    """
    stop = StopSignal()
    arrived, wake = os.pipe()
    os.set_blocking(wake, False)
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    earlier = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def watch() -> None:
        while numbers := os.read(arrived, 64):
            for number in numbers:
                if number in SIGNALS:
                    stop.arrived(number)

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wake)
        watcher.join()
        os.close(arrived)
