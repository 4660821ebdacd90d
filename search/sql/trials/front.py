"""The Pareto front of loss, step time and parameters, pool by pool, kept up with every trial."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, update

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import ON_FRONT, trials
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.trials.trial import LARGEST, Measurements

UNKNOWN_MS = 10 * LARGEST  # of a trial whose step time was not measured: worse than any
# The order is what makes SQLite take the small index rather than one over the whole search, and
# so is arithmetic around columns that have one of their own.
FRONT = (
    select(trials)
    .where(trials.c.search_id == bindparam("search"), ON_FRONT)
    .order_by(trials.c.number)
)
_fitness = trials.c.fitness + 0.0
_step_time_ms = func.coalesce(trials.c.step_time_ms, UNKNOWN_MS)
_parameters = trials.c.parameters + 0
OF_POOL = FRONT.with_only_columns(trials.c.id).where(
    func.coalesce(trials.c.pool, "") == bindparam("pool")
)
AS_GOOD = OF_POOL.where(
    _fitness >= bindparam("fitness"),
    _step_time_ms <= bindparam("step_time_ms"),
    _parameters <= bindparam("parameters"),
).limit(1)
NO_BETTER = OF_POOL.where(
    _fitness <= bindparam("fitness"),
    _step_time_ms >= bindparam("step_time_ms"),
    _parameters >= bindparam("parameters"),
)


def join_front(
    tx: Transaction, row: TrialRow, fitness: float | None, measured: Measurements
) -> None:
    """Puts the trial on the front unless another is as good; takes off those that it beats.

    Fitness is loss relative to the pool's baseline, so on one pool it orders like loss. A trial of
    whose cost nothing was measured is no compromise, and is left out.
    """
    if fitness is None or (measured.step_time_ms is None and measured.parameters is None):
        return
    figures = {
        "search": row.search_id,
        "pool": row.pool or "",
        "fitness": fitness,
        "step_time_ms": UNKNOWN_MS if measured.step_time_ms is None else measured.step_time_ms,
        "parameters": row.parameters if measured.parameters is None else measured.parameters,
    }
    if tx.run(AS_GOOD, figures).first() is not None:
        return
    beaten = tx.run(NO_BETTER, figures).scalars().all()
    if beaten:
        tx.run(update(trials).where(trials.c.id.in_(beaten)).values(on_front=False))
    tx.change(trials, row.id, {"on_front": True})
