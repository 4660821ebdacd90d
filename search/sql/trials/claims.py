"""Claims: which trial of which search a worker gets, or which new one is proposed for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sqlalchemy import bindparam, func, select, update

from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome, SpaceExhausted
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import QUEUED, trials
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.rows.values import at, read_genome, read_proxy
from brainformer.search.sql.trials.attempts import begin_attempt
from brainformer.search.sql.trials.baselines import baseline_row, is_complete, open_baseline
from brainformer.search.sql.trials.completion import advance, limit_reached
from brainformer.search.sql.trials.creation import new_trial
from brainformer.search.sql.trials.expiry import reap_held
from brainformer.search.sql.trials.history import SearchCache, SqlHistory
from brainformer.search.sql.trials.state import (
    UNFINISHED,
    SearchState,
    lock_unfinished,
    save_all,
)
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.history import Proposal
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import ClaimRequest, Lease
from brainformer.search.trials.trial import TrialKind, TrialStatus

UNTRAINABLE_TRIES = 64
COUNT_UNFINISHED = select(func.count()).select_from(UNFINISHED.subquery())
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
SearchCaches = dict[str, SearchCache]


class Started(NamedTuple):
    """A trial whose next attempt begins: what its lease tells of it."""

    lease: LeaseId
    number: int
    kind: TrialKind
    genome: Genome
    seed: int
    lease_seconds: float
    proxy: Proxy | None = None


def claim_leases(
    tx: Transaction, request: ClaimRequest, caches: SearchCaches, *, wait: bool
) -> tuple[list[Lease], bool]:
    """Grants up to `count` leases, each from the search with the fewest running trials.

    Of several with as few, the one that was served longest ago, so that one slot serves them all.

    Args:
        tx: Of the caller.
        request: Who asks, for what pool, with what data.
        caches: What this process keeps of each search.
        wait: Whether to wait for searches that another controller holds at the moment.

    Returns:
        The leases, and whether every search that might serve the worker was looked at.
    """
    open_before = 0 if wait or not tx.postgres else tx.run(COUNT_UNFINISHED).scalar_one()
    states = lock_unfinished(tx, skip_locked=not wait)
    reap_held(tx, states)
    open_searches = [state for state in states if _serves(tx, state, request, caches)]
    leases: list[Lease] = []
    while open_searches and len(leases) < request.count:
        state = min(
            open_searches,
            key=lambda one: (one.running, cache_of(caches, one).served, one.ordinal),
        )
        lease = _grant(tx, state, request, caches)
        if lease is None:
            open_searches.remove(state)
            advance(tx, state)
        else:
            leases.append(lease)
            cache_of(caches, state).served = 1 + max(
                one.served
                for one in list(caches.values())  # other claims may add to it
            )
    tx.saw(request.worker_id, pool=request.pool)
    save_all(states)
    all_held = len(states) >= open_before
    if all_held:
        _forget_ended(caches, states)
    return leases, all_held


def _forget_ended(caches: SearchCaches, unfinished: list[SearchState]) -> None:
    """Drops what is kept of searches that have ended."""
    for search_id in set(caches) - {state.id for state in unfinished}:
        caches.pop(search_id, None)


def cache_of(caches: SearchCaches, state: SearchState) -> SearchCache:
    """Returns what this process keeps of the search, made anew when its spec has changed."""
    cache = caches.get(state.id)
    if cache is None or cache.spec is not state.spec:
        cache = caches[state.id] = SearchCache(state.spec)
    return cache


def _serves(
    tx: Transaction, state: SearchState, request: ClaimRequest, caches: SearchCaches
) -> bool:
    """Returns whether this worker may work on the search: status, pool, and the same data."""
    spec = state.spec
    if state.status is not SearchStatus.RUNNING:
        return False
    if spec.pools and request.pool not in spec.pools:
        return False
    if request.datasets is None:
        return True
    name = spec.proxy.dataset
    expected = state.dataset_hash
    actual = request.datasets.get(name)
    if actual is not None and expected is None:
        state.set(dataset_hash=actual)
        return True
    if actual == expected and actual is not None:
        return True
    refused = cache_of(caches, state).refused
    if request.worker_id not in refused:  # told once, not with every poll
        refused.add(request.worker_id)
        why = "absent" if actual is None else f"hash {actual[:12]}, recorded {str(expected)[:12]}"
        tx.emit(
            EventKind.WORKER_REFUSED,
            state.id,
            worker_id=request.worker_id,
            dataset=name,
            reason=why,
        )
    return False


def _grant(
    tx: Transaction, state: SearchState, request: ClaimRequest, caches: SearchCaches
) -> Lease | None:
    if state.status is not SearchStatus.RUNNING:
        return None
    pool = request.pool
    baseline = baseline_row(tx, state.id, pool)
    if baseline is not None and baseline.failure:
        return None
    if baseline is None:
        if limit_reached(state.spec, state, tx.now):
            return None  # a pool that comes too late needs no baseline
        open_baseline(tx, state, pool)
    ready = is_complete(baseline)
    if state.queued:
        row = tx.first(TrialRow, NEXT, {"search": state.id, "pool": pool})
        if row is not None and (ready or row.kind == TrialKind.BASELINE.value):
            return _start(tx, state, row, request)
    if not ready or limit_reached(state.spec, state, tx.now):
        return None
    proposal = _propose(tx, state, caches)
    return None if proposal is None else _start_new(tx, state, proposal, request)


def _propose(tx: Transaction, state: SearchState, caches: SearchCaches) -> Proposal | None:
    """Returns a new genome that the proxy can train; None when the space has no more."""
    cache = cache_of(caches, state)
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
