"""How many event streams and exports may be open: in all, and from one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from brainformer.api.problems.problem import HttpProblem


class StreamLimit:
    """Counts open streams: so many in all, so many from one address."""

    def __init__(self, total: int, per_client: int) -> None:
        self._total = total
        self._per_client = per_client
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many are open now."""
        return self._open.total()

    @contextmanager
    def taken(self, client: str) -> Iterator[None]:
        """Counts a stream while the block runs.

        Raises:
            HttpProblem: 429, there are too many.
        """
        if self.open >= self._total or self._open[client] >= self._per_client:
            raise HttpProblem(
                429,
                "too many event streams are open; close some and come back",
                code="too_many_streams",
                headers={"Retry-After": "5"},
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
