"""The pools of a store in SQL."""

from __future__ import annotations

from collections.abc import Collection

from typing_extensions import override

from brainformer.search.sql.connection.database import Database, Transaction
from brainformer.search.sql.pools import (
    DrainedPools,
    PoolChange,
    check_known,
    drain_pool,
    resume_pool,
)
from brainformer.search.sql.reading.pools import list_pools, show_pool
from brainformer.search.store.actor import Actor
from brainformer.search.store.pool_store import PoolStore
from brainformer.search.store.records import PoolDetail, PoolRecord


class SqlPools(PoolStore):
    """Reads and changes pools in transactions of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._drained = DrainedPools()

    def refuses(self, tx: Transaction, pool: str) -> bool:
        """Returns whether the pool gets no new leases."""
        return pool in self.drained(tx)

    def drained(self, tx: Transaction) -> Collection[str]:
        """Returns the pools that get no new leases."""
        return self._drained.now(tx).keys()

    @override
    def list_all(self) -> list[PoolRecord]:
        with self._database.read() as tx:
            return list_pools(tx, self._drained.now(tx))

    @override
    def get(self, pool: str) -> PoolDetail:
        with self._database.read() as tx:
            drained = self._drained.now(tx)
            check_known(tx, pool, drained)
            return show_pool(tx, pool, drained)

    @override
    def drain(self, pool: str, *, actor: Actor) -> PoolDetail:
        return self._changed(drain_pool, pool, actor)

    @override
    def resume(self, pool: str, *, actor: Actor) -> PoolDetail:
        return self._changed(resume_pool, pool, actor)

    def _changed(self, change: PoolChange, pool: str, actor: Actor) -> PoolDetail:
        with self._database.write() as tx:
            change(tx, pool, self._drained.now(tx), actor)
        with self._database.read() as tx:
            return show_pool(tx, pool, self._drained.now(tx))
