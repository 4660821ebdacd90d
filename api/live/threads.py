"""Threads of their own for what must be answered while all others wait for the database."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """A fixed number of threads that nobody else takes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._limiter: CapacityLimiter | None = None  # belongs to the loop that it is first used in

    @property
    def taken(self) -> int:
        """How many work now."""
        return 0 if self._limiter is None else self._limiter.borrowed_tokens

    async def run(self, ask: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        """Returns what `ask` returns, called in one of them."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(self.most)
        return await to_thread.run_sync(partial(ask, *given, **named), limiter=self._limiter)
