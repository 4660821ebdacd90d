"""Intervals in seconds or in steps, and when the next one is over."""

from __future__ import annotations

import re
from dataclasses import dataclass

from brainformer.search.errors import InvalidInput
from brainformer.worker.timing.clock import Clock

WRITTEN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|m|h)|([0-9]{1,12})")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Every:
    """An interval: so many seconds, or so many steps."""

    seconds: float | None = None
    steps: int | None = None


def parse_every(text: str) -> Every:
    """Returns the interval that "30s", "10m", "1h" or, in steps, "500" stands for.

    Raises:
        InvalidInput: it is none of these, or nothing.
    """
    match = WRITTEN.fullmatch(text.strip())
    if match is None or not float(match[1] or match[3]):
        raise InvalidInput(
            "an interval is a time such as 30s, 10m or 1h, or a number of steps", text
        )
    if match[3]:
        return Every(steps=int(match[3]))
    return Every(seconds=float(match[1]) * UNITS[match[2]])


class Due:
    """When something is due again.

    Args:
        every: The interval.
        clock: Real time.
        step: Where counting begins.
        share: Of the time that it may take: what takes long is due less often. Steps are obeyed.
    """

    def __init__(self, every: Every, clock: Clock, step: int, *, share: float) -> None:
        self._every = every
        self._clock = clock
        self._share = share
        self._pause = every.seconds
        self._last = clock.now()
        self._last_step = step

    @property
    def next_step(self) -> int | None:
        """The step at which it is due; None where a clock decides."""
        steps = self._every.steps
        return None if steps is None else (self._last_step // steps + 1) * steps

    def is_due(self, step: int) -> bool:
        """Returns whether it is due at this step."""
        if self._pause is not None:
            return self._clock.now() - self._last >= self._pause
        following = self.next_step
        return following is not None and step >= following

    def done(self, step: int, seconds: float) -> None:
        """Notes that it was done, in so many seconds."""
        self._last, self._last_step = self._clock.now(), step
        if self._every.seconds is not None:
            self._pause = max(self._every.seconds, seconds / self._share)
