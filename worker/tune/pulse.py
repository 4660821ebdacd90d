"""The dispatcher's pulse: a file whose time says that its loop still turns."""

from __future__ import annotations

import math
from pathlib import Path

from brainformer.worker.timing.clock import Clock

BEAT_SECONDS = 5.0


class Pulse:
    """Touches a file while the loop turns; a health check looks how old it is.

    Args:
        file: Made by the first beat.
        clock: Measures the pauses between two beats.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._last = -math.inf

    def beat(self) -> None:
        """Touches the file, unless that was done a moment ago; a full disk must not end it."""
        now = self._clock.now()
        if now - self._last < BEAT_SECONDS:
            return
        self._last = now
        try:
            self._file.touch()
        except OSError:
            return
