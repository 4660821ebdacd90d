"""The event stream of one search or of all: server-sent events that resume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from brainformer.api.dependencies import (
    Controller,
    Parts,
    Reads,
    SearchId,
    Secret,
    client_of,
)
from brainformer.api.gate.auth import require
from brainformer.api.problems.problem import HttpProblem, problems
from brainformer.api.routes.trials import export_slot
from brainformer.api.schemas import Event
from brainformer.search.storage_errors import StorageError
from brainformer.search.store.records import EventRecord

router = APIRouter(tags=["events"], dependencies=[Reads, Depends(export_slot)])

RETRY_MILLISECONDS = 1_000
After = Annotated[
    int | None,
    Query(ge=0, le=2**53 - 1, description="Start after this event; Last-Event-ID wins over it."),
]
LastEventId = Annotated[
    str | None, Header(max_length=32, description="The id of the last event that was received.")
]
Follow = Annotated[bool, Query(description="False ends the stream at the newest event.")]


async def searched(parts: Parts, search_id: SearchId) -> str:
    """Returns the id of a search that is there, before the stream begins."""
    record = await run_in_threadpool(parts.store.get_search, search_id)
    return record.id


StillAdmitted = Callable[[], Awaitable[bool]]


async def admission(request: Request, parts: Parts, secret: Secret) -> StillAdmitted:
    """Returns what tells whether the caller may still read: tokens end while streams are open."""

    async def still_admitted() -> bool:
        try:
            require(await parts.authenticator.admitted(secret, client_of(request)), "read")
        except HttpProblem:
            return False
        except StorageError:
            pass  # nothing is known of the token, and nothing can be read either
        return True

    return still_admitted


Admission = Annotated[StillAdmitted, Depends(admission)]


@router.get(
    "/searches/{search_id}/events",
    response_class=EventSourceResponse,
    responses=problems(404, 409),
)
async def stream_search_events(
    parts: Parts,
    search: Annotated[str, Depends(searched)],
    still_admitted: Admission,
    after: After = None,
    last_event_id: LastEventId = None,
    follow: Follow = True,
) -> AsyncIterator[ServerSentEvent]:
    """Streams a search's events as they happen; the event's id resumes after a break.

    Without `after` and Last-Event-ID the stream begins with what happens next.
    """
    start = _start(after, last_event_id)
    async for event in _stream(parts, search, start, still_admitted, follow=follow):
        yield event


@router.get("/events", response_class=EventSourceResponse, responses=problems())
async def stream_events(
    parts: Parts,
    still_admitted: Admission,
    after: After = None,
    last_event_id: LastEventId = None,
    follow: Follow = True,
) -> AsyncIterator[ServerSentEvent]:
    """Streams the events of all searches."""
    start = _start(after, last_event_id)
    async for event in _stream(parts, None, start, still_admitted, follow=follow):
        yield event


async def _stream(
    parts: Controller,
    search_id: str | None,
    after: int | None,
    still_admitted: StillAdmitted,
    *,
    follow: bool,
) -> AsyncIterator[ServerSentEvent]:
    hub = parts.hub
    newest = await run_in_threadpool(parts.store.last_event)
    # An id beyond the newest event comes from another database: begin with what is next.
    reached = newest if after is None else min(after, newest)
    yield ServerSentEvent(comment="open", retry=RETRY_MILLISECONDS)
    loop = asyncio.get_running_loop()
    check_at = loop.time() + parts.settings.heartbeat_seconds
    parts.metrics.streams.inc()
    try:
        while not hub.closing:
            if loop.time() >= check_at:
                check_at = loop.time() + parts.settings.heartbeat_seconds
                if not await still_admitted():
                    return
            found, read_to = await hub.after(reached, search_id)
            for event in found:
                yield _sent(event)
            moved, reached = read_to > reached, max(reached, read_to)
            if moved and found:
                continue
            if not follow and reached >= newest:
                return
            if not await hub.wait(parts.settings.heartbeat_seconds):
                yield ServerSentEvent(comment="alive")
    finally:
        parts.metrics.streams.dec()


def _start(after: int | None, last_event_id: str | None) -> int | None:
    """Returns the seq to start after; an id that is not one of ours is ignored."""
    if last_event_id and last_event_id.isascii() and last_event_id.isdecimal():
        return min(int(last_event_id), 2**53)
    return after


def _sent(event: EventRecord) -> ServerSentEvent:
    named = {"seq": event.seq, "search_id": event.search_id, "at": event.at}
    body = Event.model_validate({**event.data, **named})
    return ServerSentEvent(raw_data=body.model_dump_json(), event=event.kind, id=str(event.seq))
