"""Waiting for what another thread or process does, with a limit instead of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(found: Callable[[], T], *, seconds: float = 20.0) -> T:
    """Returns the first true value of `found`."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return value
