"""The contract of what keeps a database in shape."""

from __future__ import annotations

from abc import ABC, abstractmethod

from brainformer.search.store.retention import Retention


class StoreCare(ABC):
    """Looks after the database and the connections to it."""

    @abstractmethod
    def forget_old(self, keep: Retention) -> int:
        """Forgets rows that are older than they need be; returns how many.

        At most some thousands at once, so that nobody waits: to be asked again until it is 0.
        """

    @abstractmethod
    def vitals(self) -> dict[str, float]:
        """Returns figures of this process for /metrics, without asking the database."""
