"""The pools of a store: looked at, drained, resumed."""

from __future__ import annotations

from abc import ABC, abstractmethod

from brainformer.search.store.actor import Actor
from brainformer.search.store.records import PoolDetail, PoolRecord


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
        """
