"""The baseline of each pool: the rival that its family yields, its repeats, what they showed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TypeGuard

from sqlalchemy import Update, bindparam, insert, select, update

from brainformer.search.spec import Rival, SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import baselines, trials
from brainformer.search.sql.rows.table_rows import BaselineRow, TrialRow
from brainformer.search.sql.rows.values import read_genome, read_measurements, read_proxy
from brainformer.search.sql.trials.cancellation import cancel_open
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_rules import Settlement
from brainformer.search.trials.reward import REPEAT, Baseline, summarise
from brainformer.search.trials.trial import OPEN, TrialKind, TrialStatus

OF_POOL = select(baselines).where(
    baselines.c.search_id == bindparam("search"), baselines.c.pool == bindparam("pool")
)
OF_BASELINE = (
    select(trials)
    .where(
        trials.c.search_id == bindparam("search"),
        trials.c.kind == TrialKind.BASELINE.value,
        trials.c.pool == bindparam("pool"),
    )
    .order_by(trials.c.number)
)
MEMBERS = OF_BASELINE.where(trials.c.origin == "family")
FAMILY = "family"  # origin of a run that helps to choose the rival
FURTHER = "rival"  # origin of a further run, beside those of finalists
OF_SEARCH = select(baselines).where(baselines.c.search_id == bindparam("search"))


def retired_words(pool: str) -> str:
    """Returns what the pool's baseline and the trials given up with it say of its retirement."""
    return f"pool {pool} was retired"


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
    """Adds a pool that claims for the first time: its rival is found, if it is not known, and run.

    Of a family every member runs once; the best of them is run again with the seeds that every
    block's repeats share, so that the run that chose it never counts.
    """
    values = {"search_id": state.id, "pool": pool, "needed": state.spec.baseline_repeats}
    tx.run(insert(baselines), values)
    rivals = state.spec.rivals()
    if len(rivals) == 1:
        _queue_repeats(tx, state, pool, rivals[0])
        return
    for rival in rivals:
        new_trial(
            tx,
            state,
            TrialKind.BASELINE,
            rival.genome,
            pool=pool,
            origin=FAMILY,
            proxy=rival.proxy,
            label=rival.label,
        )


def _queue_repeats(tx: Transaction, state: SearchState, pool: str, rival: Rival) -> None:
    """Makes a block the pool's rival and queues its repeats."""
    own = None if rival.proxy is None else rival.proxy.model_dump_json()
    values = {"rival": rival.genome.canonical_json(), "rival_proxy": own}
    tx.run(_of_pool(state, pool).values(values))
    for repeat in range(state.spec.baseline_repeats):
        queue_rival(tx, state, pool, rival, repeat, origin=REPEAT)


def queue_rival(
    tx: Transaction, state: SearchState, pool: str, rival: Rival, repeat: int, *, origin: str
) -> None:
    """Queues one more run of a pool's rival."""
    kind = TrialKind.BASELINE if origin == REPEAT else TrialKind.CONFIRMATION
    new_trial(
        tx,
        state,
        kind,
        rival.genome,
        pool=pool,
        origin=origin,
        repeat=repeat,
        proxy=rival.proxy,
        label=rival.label,
    )


def rival_of(row: BaselineRow, spec: SearchSpec) -> Rival:
    """Returns the block that this pool's candidates are compared with."""
    if row.rival is None:  # of a database from before there were families
        return spec.rivals()[0]
    proxy = None if row.rival_proxy is None else read_proxy(row.rival_proxy)
    return Rival(read_genome(row.rival), proxy)


def baseline_ended(tx: Transaction, state: SearchState, row: TrialRow, settled: Settlement) -> None:
    """Draws the consequences of a baseline trial's end for its pool."""
    if row.pool is None or settled.status is TrialStatus.QUEUED:
        return  # a baseline always has a pool: it is queued for one
    if row.origin == FAMILY:
        _member_ended(tx, state, row.pool)
    elif settled.status is TrialStatus.COMPLETED:
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


def _member_ended(tx: Transaction, state: SearchState, pool: str) -> None:
    """Chooses the pool's rival once every member of the family has run."""
    members = tx.all(TrialRow, MEMBERS, {"search": state.id, "pool": pool})
    open_statuses = {status.value for status in OPEN}
    if any(member.status in open_statuses for member in members):
        return
    losses = {
        member.number: loss
        for member in members
        if member.status == TrialStatus.COMPLETED.value
        and (loss := read_measurements(member.measurements).validation_loss) is not None
    }
    if losses:
        best = next(one for one in members if one.number == min(losses, key=losses.__getitem__))
        proxy = None if best.proxy is None else read_proxy(best.proxy)
        rival = Rival(read_genome(best.genome), proxy, best.label)
        tx.emit(
            EventKind.BASELINE_CHOSEN, state.id, pool=pool, number=best.number, label=best.label
        )
        _queue_repeats(tx, state, pool, rival)
    elif state.status is not SearchStatus.STOPPING:
        why = next((one.message for one in members if one.message), "")
        reason = f"no member of the baseline's family completed on pool {pool}: {why}"
        _give_up_pool(tx, state, pool, reason.removesuffix(": "))


def _give_up_pool(tx: Transaction, state: SearchState, pool: str, reason: str) -> None:
    """Leaves the pool out of the search, which fails when no pool is left."""
    tx.run(_of_pool(state, pool).values(failure=storable(reason)))
    tx.emit(EventKind.POOL_FAILED, state.id, pool=pool, reason=reason)
    message = "the baseline cannot run on this pool"
    cancel_open(tx, state, message, kind=TrialKind.BASELINE, pool=pool)
    if all(one.failure for one in baseline_rows(tx, state.id)):
        state.enter(SearchStatus.FAILED, reason)
        cancel_open(tx, state, "the search failed")


def _refresh(tx: Transaction, state: SearchState, pool: str) -> None:
    """Recomputes the pool's figures from its completed repeats."""
    rows = tx.all(TrialRow, OF_BASELINE, {"search": state.id, "pool": pool})
    repeats = [row for row in rows if row.origin != FAMILY]
    completed = [row for row in repeats if row.status == TrialStatus.COMPLETED.value]
    summary = summarise([read_measurements(row.measurements) for row in completed])
    tx.run(_of_pool(state, pool).values(asdict(summary)))
    if summary.repeats >= state.spec.baseline_repeats:
        loss = summary.validation_loss
        tx.emit(EventKind.BASELINE_READY, state.id, pool=pool, validation_loss=loss)


def _of_pool(state: SearchState, pool: str) -> Update:
    return update(baselines).where(baselines.c.search_id == state.id, baselines.c.pool == pool)
