"""Leases: what dispatchers claim, report and hand back."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.requests import ClientDisconnect

from brainformer.api.dependencies import (
    ClaimedLease,
    Controller,
    Parts,
    Works,
    client_of,
)
from brainformer.api.gate.strict_body import body_schema, strict_body
from brainformer.api.problems.problem import HttpProblem, problems
from brainformer.api.routes.answers import answer
from brainformer.search.storage_errors import StorageHeld
from brainformer.search.store.patience import renew
from brainformer.search.trials.lease_messages import (
    ClaimRequest,
    ClaimResponse,
    Directive,
    Lease,
    Progress,
    Receipt,
    Result,
)
from brainformer.search.trials.version_skew import HEADER, own_version, refuse_skew

router = APIRouter(prefix="/leases", tags=["leases"], dependencies=[Works])
Claim = Annotated[ClaimRequest, strict_body(ClaimRequest)]
ReportedProgress = Annotated[Progress, strict_body(Progress)]
ReportedResult = Annotated[Result, strict_body(Result)]
WorkerVersion = Annotated[
    str | None,
    Header(
        alias=HEADER,
        max_length=64,
        description="The worker's version; one of another minor version than the controller's is "
        "refused (409 `version_skew`).",
    ),
]
# A waiting claim looks this often whether its caller is still there.
LOOK_AROUND_SECONDS = 5.0
QUICK_SECONDS = 0.1  # nobody leaves within them
TURN_SECONDS = 6.0  # that a claim waits for its turn, also one that does not want to wait for work
LINKS = {
    name: {
        "operationId": name,
        "parameters": {"lease_id": "$response.body#/leases/0/lease_id"},
    }
    for name in ("report_progress", "report_result", "release_lease")
}


@router.post(
    "/claim",
    response_model=ClaimResponse,
    responses={**problems(409, 413), 200: {"description": "Granted", "links": LINKS}},
    openapi_extra=body_schema(ClaimRequest),
)
async def claim_leases(
    request: Request, parts: Parts, wanted: Claim, worker: WorkerVersion = None
) -> Response:
    """Grants up to `count` leases; waits up to `wait_seconds` for the first one."""
    if worker is not None:
        refuse_skew(worker=worker, controller=own_version())
    pause = parts.claims.take(client_of(request))
    if pause:
        raise HttpProblem(
            429, "too many claims from this address", headers={"Retry-After": str(int(pause) + 1)}
        )
    parts.datasets.offer(wanted.datasets)
    seen, ends = parts.hub.work, asyncio.get_running_loop().time() + wanted.wait_seconds
    granted = await _in_turn(request, parts, wanted, ends)
    if not granted and wanted.wait_seconds:
        granted = await _wait(request, parts, wanted, seen, ends)
    if granted:
        parts.hub.poke()
    return answer(ClaimResponse(leases=tuple(granted)))


@router.post(
    "/{lease_id}/progress",
    response_model=Directive,
    responses=problems(404, 409, 413),
    openapi_extra=body_schema(Progress),
)
async def report_progress(
    parts: Parts, lease_id: ClaimedLease, report: ReportedProgress
) -> Response:
    """Extends the lease and answers `continue` or `stop`; the worker obeys."""
    if report.point is not None:
        return answer(await parts.points.tell(lease_id, report))
    return answer(await parts.heartbeats.run(parts.store.progress, lease_id, report))


@router.post(
    "/{lease_id}/result",
    response_model=Receipt,
    responses=problems(404, 409, 413),
    openapi_extra=body_schema(Result),
)
async def report_result(parts: Parts, lease_id: ClaimedLease, result: ReportedResult) -> Response:
    """Records how the attempt ended, exactly once: an identical repeat gets the same receipt.

    A late report gets 409 (`lease_lost`) and is kept for audit.
    """
    receipt = await parts.reporting.run(_record, parts, lease_id, result)
    if not receipt.duplicate:
        parts.metrics.utilisation(result.measurements.utilisation)
    parts.hub.poke()
    return answer(receipt)


@router.post(
    "/{lease_id}/release",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409),
)
async def release_lease(parts: Parts, lease_id: ClaimedLease) -> Response:
    """Hands an unstarted lease back: queued again, the attempt not counted."""
    await parts.reporting.run(parts.store.release, lease_id)
    parts.hub.poke()
    return Response(status_code=204)


async def _in_turn(
    request: Request, parts: Controller, wanted: ClaimRequest, ends: float
) -> list[Lease]:
    """Returns what is granted once it is this claim's turn.

    Args:
        request: Tells whether the caller is still there.
        parts: Of the controller.
        wanted: The claim.
        ends: When the caller no longer waits for work, by the loop's clock.

    Raises:
        StorageHeld: the turn did not come in time.
        ClientDisconnect: the caller has left meanwhile.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with parts.turns.turn(max(ends - began, TURN_SECONDS)) as came:
        if not came:
            raise StorageHeld(
                "it cannot grant leases as fast as they are claimed; claim again later"
            )
        if loop.time() - began > QUICK_SECONDS and await request.is_disconnected():
            raise ClientDisconnect
        if wanted.wait_seconds:
            renew()
        return await parts.claiming.run(_claim, parts, wanted)


def _record(parts: Controller, lease_id: str, result: Result) -> Receipt:
    with parts.metrics.timed("tell"):
        return parts.store.result(lease_id, result)


def _claim(parts: Controller, wanted: ClaimRequest) -> list[Lease]:
    with parts.metrics.timed("ask"):
        return parts.store.claim(wanted)


async def _wait(
    request: Request, parts: Controller, wanted: ClaimRequest, seen: int, ends: float
) -> list[Lease]:
    """Returns the first leases to be had in time, without holding a thread meanwhile."""
    hub, waiting = parts.hub, parts.waiting
    if waiting.total() >= parts.settings.max_waiting_claims:
        return []
    loop = asyncio.get_running_loop()
    with waiting.queued(wanted) as line, parts.metrics.waiting_claims.track_inprogress():
        while not hub.closing and loop.time() < ends and not await request.is_disconnected():
            await hub.wait_for_work(seen, min(ends - loop.time(), LOOK_AROUND_SECONDS))
            if hub.work == seen:
                continue
            seen = hub.work
            async with line.asking(seen) as worth_it:
                worth_it &= loop.time() < ends  # it may have stood in line until then
                granted = await _in_turn(request, parts, wanted, ends) if worth_it else []
                if worth_it and not granted:
                    line.empty_at = seen
            if granted:
                return await _handed(request, parts, granted)
    return []


async def _handed(request: Request, parts: Controller, granted: list[Lease]) -> list[Lease]:
    """Returns the leases; gives them back at once if whoever waited for them has gone."""
    if not await request.is_disconnected():
        return granted
    for lease in granted:
        await parts.reporting.run(parts.store.release, lease.lease_id)
    parts.hub.poke()
    return []
