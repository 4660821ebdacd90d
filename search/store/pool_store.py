"""The pools of a store: looked at, drained, resumed, retired, brought back."""

from __future__ import annotations

from abc import ABC, abstractmethod

from brainformer.search.store.actor import Actor
from brainformer.search.store.records import PoolDetail, PoolRecord, PoolRetirement


class PoolStore(ABC):
    """What is known of the kinds of hardware that work, and which of them may."""

    @abstractmethod
    def list_all(self) -> list[PoolRecord]:
        """Returns the pools seen."""

    @abstractmethod
    def get(self, pool: str) -> PoolDetail:
        """Returns what is known of one pool.

        Raises:
            NotFound: no worker has claimed for it.
        """

    @abstractmethod
    def drain(self, pool: str, *, actor: Actor) -> PoolDetail:
        """Lets no further trial start on the pool; those that run go on. Twice is as once.

        Raises:
            NotFound: no worker has claimed for it.
        """

    @abstractmethod
    def resume(self, pool: str, *, actor: Actor) -> PoolDetail:
        """Lets trials start on the pool again. Twice is as once.

        Raises:
            NotFound: no worker has claimed for it.
            Conflict: it was retired.
        """

    @abstractmethod
    def retire(self, pool: str, *, actor: Actor) -> PoolRetirement:
        """Takes a pool that will not come back out of every open search.

        What runs there ends: candidates go back to the queue for other pools. Fresh runs of a
        finalist begin again on another pool of the search that has a rival, unless the finalist
        has had its first repeats already; all else that waits for the pool is given up. A search
        or study that no other pool can serve ends, with the reason. Twice is as once.

        Raises:
            NotFound: no worker has claimed for it, and no open search names it.
        """

    @abstractmethod
    def bring_back(self, pool: str, *, actor: Actor) -> PoolDetail:
        """Gives a retired pool work again, in the searches that are still open. Twice is as once.

        Raises:
            NotFound: no worker has claimed for it.
        """
