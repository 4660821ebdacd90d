"""Claims: which trial of which search a worker gets, or which new one is proposed for it."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from sqlalchemy import bindparam, func, select, update

from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome, SpaceExhausted
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import QUEUED, trials
from brainformer.search.sql.pools import refuse_retired
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.rows.values import at, read_genome, read_proxy
from brainformer.search.sql.trials.attempts import begin_attempt
from brainformer.search.sql.trials.baselines import baseline_row, is_complete, open_baseline
from brainformer.search.sql.trials.completion import advance, limit_reached
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.eligibility import SearchCaches, eligible, wish_of
from brainformer.search.sql.trials.expiry import reap_held, searches_of_lapsed
from brainformer.search.sql.trials.history import SqlHistory
from brainformer.search.sql.trials.state import (
    SearchState,
    lock_unfinished,
    save_all,
    wait_for_unfinished,
)
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.history import Proposal
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import ClaimRequest, Lease
from brainformer.search.trials.trial import TrialKind, TrialStatus

UNTRAINABLE_TRIES = 64
NEXT = (
    select(trials)
    .where(
        trials.c.search_id == bindparam("search"),
        QUEUED,
        func.coalesce(trials.c.pool, bindparam("pool")) == bindparam("pool"),
    )
    .order_by(trials.c.kind != TrialKind.BASELINE.value, trials.c.number)
    .limit(1)
)
START = (  # with the columns that _start gives
    update(trials)
    .where(trials.c.id == bindparam("key"), trials.c.status == TrialStatus.QUEUED.value)
    .values(status=TrialStatus.RUNNING.value, outcome=None, message="")
)
MOST_EMPTY = 64  # searches that one transaction looks at in vain


class Started(NamedTuple):
    """A trial whose next attempt begins: what its lease tells of it."""

    lease: LeaseId
    number: int
    kind: TrialKind
    genome: Genome
    seed: int
    lease_seconds: float
    proxy: Proxy | None = None


class Claimed(NamedTuple):
    """What a claim has found.

    Attributes:
        leases: Granted.
        busy: Searches that another controller held, which may have something.
        more: Whether there are searches that were not looked at.
    """

    leases: list[Lease]
    busy: list[str]
    more: bool


def claim_leases(
    tx: Transaction,
    request: ClaimRequest,
    caches: SearchCaches,
    *,
    only: Sequence[str] | None = None,
) -> Claimed:
    """Grants up to `count` leases, each from the search with the fewest running trials.

    Of several with as few, the one that was served longest ago, so that one slot serves them all.
    Searches are held one by one, as they are looked at, and passed over if somebody holds them.

    Args:
        tx: Of the caller.
        request: Who asks, for what pool, with what data.
        caches: What this process remembers.
        only: Wait for these, and look at no others.
    """
    states = _held_first(tx, only)
    line = eligible(tx, request, caches)
    if only is not None:
        line = [one for one in line if one[-1] in states]
    heapify(line)
    leases: list[Lease] = []
    busy: list[str] = []
    empty: list[SearchState] = []
    while line and len(leases) < request.count and len(empty) < MOST_EMPTY:
        search_id = heappop(line)[-1]
        if search_id not in states:
            if line or states:
                held = lock_unfinished(tx, ids=[search_id], skip_locked=True)
                busy += [search_id] if not held else []
            else:
                held = wait_for_unfinished(tx, search_id)  # there is nothing else to look at
            if not held:
                continue
            states[search_id] = held[0]
        state = states[search_id]
        lease = _grant(tx, state, request, caches) if _same_data(state, request) else None
        if lease is None:
            advance(tx, state)
            empty.append(state)
        else:
            leases.append(lease)
            caches.note_grant(search_id)
            place = (state.running, caches.served(search_id), state.ordinal, search_id)
            heappush(line, place)
    tx.saw(request.worker_id, pool=request.pool)
    caches.note_nothing(wish_of(request), [state for state in empty if state.unchanged])
    save_all(list(states.values()))
    return Claimed(leases, busy, bool(line) and len(leases) < request.count)


def _held_first(tx: Transaction, only: Sequence[str] | None) -> dict[str, SearchState]:
    """Returns the searches to wait for, or those with expired leases, reaped."""
    if only is None:
        ids = searches_of_lapsed(tx)
        states = lock_unfinished(tx, ids=ids, skip_locked=True) if ids else []
    else:
        states = lock_unfinished(tx, ids=only)
    if states:
        reap_held(tx, states)
    return {state.id: state for state in states}


def _same_data(state: SearchState, request: ClaimRequest) -> bool:
    """Returns whether the worker's data is the search's; the first worker's becomes it."""
    if request.datasets is None:
        return True
    actual = request.datasets.get(state.spec.proxy.dataset)
    if actual is not None and state.dataset_hash is None:
        state.set(dataset_hash=actual)
    return actual is not None and actual == state.dataset_hash


def _grant(
    tx: Transaction, state: SearchState, request: ClaimRequest, caches: SearchCaches
) -> Lease | None:
    if state.status is not SearchStatus.RUNNING:
        return None
    pool = request.pool
    if state.is_study:
        planned = tx.first(TrialRow, NEXT, {"search": state.id, "pool": pool})
        return None if planned is None else _start(tx, state, planned, request)
    baseline = baseline_row(tx, state.id, pool)
    if baseline is not None and baseline.failure:
        return None
    if baseline is None:
        if limit_reached(state.spec.limits, state, tx.now):
            return None  # a pool that comes too late needs no baseline
        refuse_retired(tx, pool)  # again: it may have been retired since this claim began
        open_baseline(tx, state, pool)
    ready = is_complete(baseline)
    if state.queued:
        row = tx.first(TrialRow, NEXT, {"search": state.id, "pool": pool})
        if row is not None and (ready or row.kind == TrialKind.BASELINE.value):
            return _start(tx, state, row, request)
    if not ready or limit_reached(state.spec.limits, state, tx.now):
        return None
    proposal = _propose(tx, state, caches)
    return None if proposal is None else _start_new(tx, state, proposal, request)


def _propose(tx: Transaction, state: SearchState, caches: SearchCaches) -> Proposal | None:
    """Returns a new genome that the proxy can train; None when the space has no more."""
    cache = caches.of(state)
    history = SqlHistory(tx, state, cache)
    rng = np.random.default_rng([state.spec.seed, state.next_number])
    try:
        for _ in range(UNTRAINABLE_TRIES):
            proposal = cache.proposer.propose(history, rng=rng)
            try:
                check_trainable(proposal.genome, state.spec.proxy)
            except InvalidGenome:
                continue
            return proposal
        raise SpaceExhausted(state.candidates_proposed, UNTRAINABLE_TRIES)
    except SpaceExhausted as error:
        state.set(exhausted=True)
        tx.emit(EventKind.SEARCH_EXHAUSTED, state.id, reason=error.message)
        return None


def _start_new(
    tx: Transaction, state: SearchState, proposal: Proposal, request: ClaimRequest
) -> Lease:
    seconds = state.spec.lease_seconds
    key = LeaseId.new_key()
    trial = new_trial(
        tx,
        state,
        TrialKind.CANDIDATE,
        proposal.genome,
        pool=request.pool,
        origin=proposal.origin,
        parent=proposal.parent,
        mutation=proposal.mutation,
        running={
            "attempt": 1,
            "lease_key": key,
            "tries": 1,
            "worker_id": request.worker_id,
            "started_at": tx.now,
            "lease_expires_at": tx.now + seconds,
        },
    )
    lease = LeaseId(trial.id, 1, key)
    kind, genome = TrialKind.CANDIDATE, proposal.genome
    started = Started(lease, trial.number, kind, genome, trial.seed, seconds)
    return _granted(tx, state, started, request)


def _start(tx: Transaction, state: SearchState, row: TrialRow, request: ClaimRequest) -> Lease:
    lease = LeaseId(row.id, row.attempt + 1, LeaseId.new_key())
    values = {
        "seq": state.take_seq(),
        "pool": request.pool,
        "attempt": lease.attempt,
        "lease_key": lease.key,
        "tries": row.tries + 1,
        "worker_id": request.worker_id,
        "started_at": tx.now,
        "lease_expires_at": tx.now + row.lease_seconds,
    }
    tx.run(START, {"key": row.id, **values})
    state.move(TrialStatus.QUEUED, TrialStatus.RUNNING)
    kind, genome = TrialKind(row.kind), read_genome(row.genome)
    proxy = None if row.proxy is None else read_proxy(row.proxy)
    started = Started(lease, row.number, kind, genome, row.seed, row.lease_seconds, proxy)
    return _granted(tx, state, started, request)


def _granted(tx: Transaction, state: SearchState, trial: Started, request: ClaimRequest) -> Lease:
    """Returns the lease of a trial that has just been started, with its attempt and event."""
    spec, lease = state.spec, trial.lease
    begin_attempt(tx, lease, worker_id=request.worker_id, pool=request.pool)
    tx.emit(
        EventKind.TRIAL_STARTED,
        state.id,
        number=trial.number,
        kind_of_trial=trial.kind.value,
        attempt=lease.attempt,
        pool=request.pool,
        seq=state.trial_seq,
    )
    proxy = trial.proxy or spec.proxy
    if state.dataset_hash and proxy.dataset_hash is None:
        proxy = proxy.model_copy(update={"dataset_hash": state.dataset_hash})
    return Lease(
        lease_id=str(lease),
        search_id=state.id,
        search_name=spec.name,
        trial_id=lease.trial_id,
        trial_number=trial.number,
        attempt=lease.attempt,
        kind=trial.kind,
        pool=request.pool,
        genome=trial.genome,
        proxy=proxy,
        seed=trial.seed,
        expires_at=at(tx.now + trial.lease_seconds),
        lease_seconds=trial.lease_seconds,
        inference_time=spec.inference_time_slack is not None,
    )
