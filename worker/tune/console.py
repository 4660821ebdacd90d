"""The dispatcher's console: what its slots tell, once, though all of them say the same."""

from __future__ import annotations

import time
from collections.abc import Callable

QUIET_SECONDS = 60.0


class Console:
    """Passes sentences on; one that was passed on within the last minute is not repeated.

    Args:
        tell: Shows a sentence.
        now: Monotonic seconds.
    """

    def __init__(
        self, tell: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._now = now
        self._told: dict[str, float] = {}

    def tell(self, sentence: str) -> None:
        """Shows the sentence unless it was just shown."""
        now = self._now()
        self._told = {old: at for old, at in self._told.items() if now - at < QUIET_SECONDS}
        if sentence not in self._told:
            self._told[sentence] = now
            self._tell(sentence)
