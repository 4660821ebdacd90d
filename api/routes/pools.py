"""Pools: the kinds of hardware that work here, looked at, drained, resumed and retired."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from brainformer.api.dependencies import Parts, Reads, Writer
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import answer
from brainformer.api.schemas import Pools
from brainformer.search.proxy.proxy import NAME_PATTERN
from brainformer.search.store.records import PoolDetail, PoolRetirement

router = APIRouter(prefix="/pools", tags=["pools"])
PoolName = Annotated[str, Path(pattern=NAME_PATTERN, description="As its workers call it.")]


@router.get("", response_model=Pools, responses=problems(), dependencies=[Reads])
def list_pools(parts: Parts) -> Response:
    """Lists the kinds of hardware that have worked here."""
    return answer(Pools.model_construct(items=tuple(parts.store.pools.list_all())))


@router.get("/{pool}", response_model=PoolDetail, responses=problems(404), dependencies=[Reads])
def get_pool(parts: Parts, pool: PoolName) -> Response:
    """Gets one pool: devices, speed, outcomes, and what each open search waits for there."""
    return answer(parts.store.pools.get(pool))


@router.post("/{pool}/drain", response_model=PoolDetail, responses=problems(404))
def drain_pool(parts: Parts, actor: Writer, pool: PoolName) -> Response:
    """Lets no further trial start on the pool; those that run go on. Asking twice is harmless."""
    return answer(parts.store.pools.drain(pool, actor=actor))


@router.post("/{pool}/resume", response_model=PoolDetail, responses=problems(404, 409))
def resume_pool(parts: Parts, actor: Writer, pool: PoolName) -> Response:
    """Lets trials start on the pool again. Asking twice is harmless."""
    detail = parts.store.pools.resume(pool, actor=actor)
    parts.hub.poke()
    return answer(detail)


@router.post("/{pool}/retire", response_model=PoolRetirement, responses=problems(404))
def retire_pool(parts: Parts, actor: Writer, pool: PoolName) -> Response:
    """Takes a pool that will not come back out of every open search, and says what that did.

    Candidates go back to the queue, fresh runs of finalists begin again on another pool that has a
    rival, the rest is given up, and what no other pool can serve ends. Asking twice is harmless.
    """
    retirement = parts.store.pools.retire(pool, actor=actor)
    parts.hub.poke()
    return answer(retirement)


@router.post("/{pool}/return", response_model=PoolDetail, responses=problems(404))
def return_pool(parts: Parts, actor: Writer, pool: PoolName) -> Response:
    """Gives a retired pool work again. What was given up stays so. Asking twice is harmless."""
    detail = parts.store.pools.bring_back(pool, actor=actor)
    parts.hub.poke()
    return answer(detail)
