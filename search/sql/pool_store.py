"""The pools of a store in SQL."""

from __future__ import annotations

from typing_extensions import override

from brainformer.search.errors import PoolRetired
from brainformer.search.sql.connection.database import Database, Transaction
from brainformer.search.sql.pools import (
    OutOfWork,
    PoolChange,
    PoolDecisions,
    check_known,
    drain_pool,
    note_retired,
    note_returned,
    resume_pool,
)
from brainformer.search.sql.reading.pools import list_pools, show_pool
from brainformer.search.sql.retirement import leave_pool, rejoin
from brainformer.search.store.actor import Actor
from brainformer.search.store.pool_store import PoolStore
from brainformer.search.store.records import PoolDetail, PoolRecord, PoolRetirement


class SqlPools(PoolStore):
    """Reads and changes pools in transactions of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._decisions = PoolDecisions()

    def refuses(self, tx: Transaction, pool: str) -> bool:
        """Returns whether the pool gets no new leases for now.

        Raises:
            PoolRetired: nor ever again.
        """
        out = self.now(tx)
        if pool in out.retired:
            raise PoolRetired(pool)
        return pool in out.drained

    def now(self, tx: Transaction) -> OutOfWork:
        """Returns the pools that get no new leases."""
        return self._decisions.now(tx)

    def sweep(self, tx: Transaction) -> None:
        """Takes retired pools out of searches that met them while they were being retired."""
        out = self.now(tx)
        for pool in sorted(out.retired):
            leave_pool(tx, pool, out, waiting=False)

    @override
    def list_all(self) -> list[PoolRecord]:
        with self._database.read() as tx:
            return list_pools(tx, self.now(tx))

    @override
    def get(self, pool: str) -> PoolDetail:
        with self._database.read() as tx:
            out = self.now(tx)
            check_known(tx, pool, out)
            return show_pool(tx, pool, out)

    @override
    def drain(self, pool: str, *, actor: Actor) -> PoolDetail:
        return self._changed(drain_pool, pool, actor)

    @override
    def resume(self, pool: str, *, actor: Actor) -> PoolDetail:
        return self._changed(resume_pool, pool, actor)

    @override
    def retire(self, pool: str, *, actor: Actor) -> PoolRetirement:
        with self._database.write() as tx:
            out = self.now(tx)
            note_retired(tx, pool, out, actor)
            left = leave_pool(tx, pool, out.with_retired(pool, tx.now))
        return PoolRetirement(pool=self._shown(pool), searches=tuple(left))

    @override
    def bring_back(self, pool: str, *, actor: Actor) -> PoolDetail:
        with self._database.write() as tx:
            note_returned(tx, pool, self.now(tx), actor)
            rejoin(tx, pool)
        return self._shown(pool)

    def _changed(self, change: PoolChange, pool: str, actor: Actor) -> PoolDetail:
        with self._database.write() as tx:
            change(tx, pool, self.now(tx), actor)
        return self._shown(pool)

    def _shown(self, pool: str) -> PoolDetail:
        with self._database.read() as tx:
            return show_pool(tx, pool, self.now(tx))
