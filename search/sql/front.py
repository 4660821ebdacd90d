"""The Pareto front of loss and step time, pool by pool, kept up with every completed trial."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select, update

from search.sql.database import Transaction
from search.tables import ON_FRONT, trials

# The order is what makes SQLite take the small index rather than one over the whole search.
FRONT = (
    select(trials.c.id, trials.c.pool, trials.c.fitness, trials.c.step_time_ms)
    .where(trials.c.search_id == bindparam("search"), ON_FRONT)
    .order_by(trials.c.number)
)


def join_front(
    tx: Transaction, row: Any, fitness: float | None, step_time_ms: float | None
) -> None:
    """Puts the trial on the front unless another beats it; takes off those that it beats.

    Fitness is loss relative to the pool's baseline, so on one pool it orders like loss.
    """
    if fitness is None or step_time_ms is None:
        return
    beaten = []
    for other in tx.run(FRONT, {"search": row.search_id}):
        if other.pool != row.pool:
            continue
        if other.fitness >= fitness and other.step_time_ms <= step_time_ms:
            return
        if other.fitness <= fitness and other.step_time_ms >= step_time_ms:
            beaten.append(other.id)
    if beaten:
        tx.run(update(trials).where(trials.c.id.in_(beaten)).values(on_front=False))
    tx.run(update(trials).where(trials.c.id == row.id).values(on_front=True))
