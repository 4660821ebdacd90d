"""The baseline of each pool: its repeats and what they showed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TypeGuard

from sqlalchemy import bindparam, insert, select, update

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import baselines, trials
from brainformer.search.sql.rows.table_rows import BaselineRow, TrialRow
from brainformer.search.sql.rows.values import read_measurements
from brainformer.search.sql.trials.cancellation import cancel_open
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_rules import Settlement
from brainformer.search.trials.reward import Baseline, summarise
from brainformer.search.trials.trial import TrialKind, TrialStatus

OF_POOL = select(baselines).where(
    baselines.c.search_id == bindparam("search"), baselines.c.pool == bindparam("pool")
)
OF_SEARCH = select(baselines).where(baselines.c.search_id == bindparam("search"))


def baseline_row(tx: Transaction, search_id: str, pool: str) -> BaselineRow | None:
    """Returns the pool's row, None before its first claim."""
    return tx.first(BaselineRow, OF_POOL, {"search": search_id, "pool": pool})


def baseline_rows(tx: Transaction, search_id: str) -> list[BaselineRow]:
    """Returns the rows of all pools."""
    return tx.all(BaselineRow, OF_SEARCH, {"search": search_id})


def as_baseline(row: BaselineRow) -> Baseline:
    """Returns the figures that rewards are relative to."""
    return Baseline(
        repeats=row.repeats,
        validation_loss=row.validation_loss,
        bits_per_byte=row.bits_per_byte,
        step_time_ms=row.step_time_ms,
        inference_time_ms=row.inference_time_ms,
        noise=row.noise,
        step_time_noise_ms=row.step_time_noise_ms,
        hurdle_loss=row.hurdle_loss,
        hurdle_noise=row.hurdle_noise,
    )


def is_complete(row: BaselineRow | None) -> TypeGuard[BaselineRow]:
    """Returns whether candidates may run on this pool."""
    return row is not None and row.repeats >= row.needed


def pool_baseline(tx: Transaction, search_id: str, pool: str | None) -> Baseline | None:
    """Returns the pool's baseline, None while its repeats are not complete."""
    row = None if pool is None else baseline_row(tx, search_id, pool)
    return as_baseline(row) if is_complete(row) else None


def open_baseline(tx: Transaction, state: SearchState, pool: str) -> None:
    """Adds the row of a pool that claims for the first time."""
    values = {"search_id": state.id, "pool": pool, "needed": state.spec.baseline_repeats}
    tx.run(insert(baselines), values)


def baseline_ended(tx: Transaction, state: SearchState, row: TrialRow, settled: Settlement) -> None:
    """Draws the consequences of a baseline trial's end for its pool."""
    if row.pool is None:
        return  # never of a baseline: it is queued for a pool
    if settled.status is TrialStatus.COMPLETED:
        _refresh(tx, state, row.pool)
    elif settled.status is TrialStatus.FAILED and state.status is not SearchStatus.STOPPING:
        why = f" ({settled.message})" if settled.message else ""
        _give_up_pool(
            tx,
            state,
            row.pool,
            f"the baseline's trial {row.number} on pool {row.pool} ended as "
            f"{settled.outcome.value}{why}; without a baseline there is no fitness",
        )


def _give_up_pool(tx: Transaction, state: SearchState, pool: str, reason: str) -> None:
    """Leaves the pool out of the search, which fails when no pool is left."""
    tx.run(
        update(baselines)
        .where(baselines.c.search_id == state.id, baselines.c.pool == pool)
        .values(failure=storable(reason))
    )
    tx.emit(EventKind.POOL_FAILED, state.id, pool=pool, reason=reason)
    message = "the baseline cannot run on this pool"
    cancel_open(tx, state, message, kind=TrialKind.BASELINE, pool=pool)
    if all(one.failure for one in baseline_rows(tx, state.id)):
        state.enter(SearchStatus.FAILED, reason)
        cancel_open(tx, state, "the search failed")


def _refresh(tx: Transaction, state: SearchState, pool: str) -> None:
    """Computes the pool's figures anew from its completed repeats."""
    texts = tx.run(
        select(trials.c.measurements)
        .where(
            trials.c.search_id == state.id,
            trials.c.kind == TrialKind.BASELINE.value,
            trials.c.pool == pool,
            trials.c.status == TrialStatus.COMPLETED.value,
        )
        .order_by(trials.c.number)
    ).scalars()
    summary = summarise([read_measurements(text) for text in texts])
    tx.run(
        update(baselines)
        .where(baselines.c.search_id == state.id, baselines.c.pool == pool)
        .values(asdict(summary))
    )
    if summary.repeats >= state.spec.baseline_repeats:
        loss = summary.validation_loss
        tx.emit(EventKind.BASELINE_READY, state.id, pool=pool, validation_loss=loss)
