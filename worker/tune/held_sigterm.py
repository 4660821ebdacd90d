"""SIGTERM waits while Ray starts: ended in the middle, Ray aborts and leaves processes behind.

It sets handlers of its own meanwhile, in Python and below it, so none of ours would be called; a
blocked signal is kept by the system instead.
"""

from __future__ import annotations

import os
import signal
from typing import Self

HELD = {signal.SIGTERM}


class HeldSigterm:
    """While inside, or until `let_through`, SIGTERM waits; what is started meanwhile gets its own.

    For the main thread, whose signals it holds. Threads that start inside never take SIGTERM; one
    that started outside would, so NumPy, which has threads, is imported inside too. SIGINT is not
    held: whoever presses Ctrl-C is impatient.

    Args:
        hold: Whether to hold it at all.
    """

    def __init__(self, *, hold: bool = True) -> None:
        self._holds = hold

    def __enter__(self) -> Self:
        """Begins to hold it."""
        if self._holds:
            os.register_at_fork(after_in_child=self.let_through)
            signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        return self

    def __exit__(self, *_: object) -> None:
        """Lets it through if nobody has."""
        self.let_through()

    def let_through(self) -> None:
        """Lets one that has waited arrive now."""
        if self._holds:
            self._holds = False
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
