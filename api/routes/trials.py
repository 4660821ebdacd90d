"""Trials of a search: listings, one in detail, lineage, population, Pareto front, best."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import chain
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from brainformer.api.dependencies import (
    Controller,
    Cursor,
    Parts,
    Reads,
    SearchId,
    TrialNumber,
    Writer,
    client_of,
)
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import JSON, answer, next_link
from brainformer.api.schemas import Baselines, TrialDetail, TrialPage, Trials
from brainformer.search.campaign.evaluated import header_line
from brainformer.search.proxy.proxy import NAME_PATTERN
from brainformer.search.space.difference import Change, difference
from brainformer.search.store.contract import TrialFilter
from brainformer.search.store.records import BestRecord, TrialRecord
from brainformer.search.trials.equal_tokens import EqualTokens, equal_tokens
from brainformer.search.trials.trial import TrialKind, TrialStatus

router = APIRouter(prefix="/searches/{search_id}", tags=["trials"], dependencies=[Reads])

Sort = Literal[
    "number",
    "-number",
    "fitness",
    "-fitness",
    "step_time_ms",
    "-step_time_ms",
    "parameters",
    "-parameters",
    "seq",
    "-seq",
]
EXPORT_PAGE = 500
COMPARED = (TrialKind.CANDIDATE, TrialKind.CONFIRMATION, TrialKind.REPEAT)
MOST_REPEATS = 64  # of a baseline that are averaged


def _equal_tokens(parts: Controller, trial: TrialRecord) -> EqualTokens | None:
    """Returns a trial's loss and its pool's baseline's after the same number of tokens."""
    known = trial.measurements.tokens is not None
    if trial.pool is None or not known or trial.kind not in COMPARED:
        return None
    where = TrialFilter.rival_runs(trial.pool, curves=True)
    rivals = parts.store.list_trials(trial.search_id, where=where, limit=MOST_REPEATS)
    return equal_tokens(trial.measurements, [one.measurements for one in rivals.items])


async def trial_filter(
    status: Annotated[list[TrialStatus] | None, Query(max_length=10)] = None,
    kind: Annotated[list[TrialKind] | None, Query(max_length=10)] = None,
    pool: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
    sort: Annotated[Sort, Query(description="A leading minus is descending.")] = "number",
    after_seq: Annotated[
        int | None,
        Query(ge=0, le=2**53 - 1, description="Only what changed after it, sorted by seq."),
    ] = None,
) -> TrialFilter:
    """Returns which trials are asked for, in which order."""
    return TrialFilter(
        statuses=tuple(status or ()),
        kinds=tuple(kind or ()),
        pool=pool,
        sort="seq" if after_seq is not None else sort,
        after_seq=after_seq,
    )


Filter = Annotated[TrialFilter, Depends(trial_filter)]


async def export_slot(request: Request, parts: Parts) -> AsyncIterator[None]:
    """Holds one of the streams that may be open while an export runs."""
    with parts.streams.taken(client_of(request)):
        yield


@router.get("/trials", response_model=TrialPage, responses=problems(404, 409))
def list_trials(
    request: Request,
    parts: Parts,
    search_id: SearchId,
    where: Filter,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Lists trials page by page; `after_seq` gives what changed since a listing before."""
    body, more = parts.store.list_trials_json(search_id, where=where, cursor=cursor, limit=limit)
    return Response(body, media_type=JSON, headers=next_link(request, more))


@router.get(
    "/trials.jsonl",
    response_class=StreamingResponse,
    dependencies=[Depends(export_slot)],
    responses={
        **problems(404, 409),
        200: {
            "description": "One trial a line, curves included.",
            "content": {"application/jsonl": {"schema": {"type": "string"}}},
        },
    },
)
def export_trials(
    parts: Parts, search_id: SearchId, where: Filter, header: bool = False
) -> StreamingResponse:
    """Streams every trial as JSON Lines, curves included.

    With `header`, a line before them tells the search's spec, so that another search may begin
    with them (`POST /searches` in JSON lines).
    """
    where = replace(where, curves=True)
    first = parts.store.list_trials(search_id, where=where, limit=EXPORT_PAGE)
    lines = _lines(parts, search_id, where, first.items, first.next_cursor)
    if header:
        search = parts.store.get_search(search_id)
        lines = chain([header_line(search.id, search.name, search.spec)], lines)
    name = f'attachment; filename="{search_id}-trials.jsonl"'
    return StreamingResponse(
        lines, media_type="application/jsonl", headers={"Content-Disposition": name}
    )


@router.get("/trials/{number}", response_model=TrialDetail, responses=problems(404, 409))
def get_trial(parts: Parts, search_id: SearchId, number: TrialNumber) -> Response:
    """Returns a trial with its curve, its attempts and what differs from its parent."""
    trial = parts.store.get_trial(search_id, number)
    attempts = tuple(parts.store.attempts(search_id, number))
    changes: tuple[Change, ...] = ()
    if trial.parent_number is not None:
        parent = parts.store.get_trial(search_id, trial.parent_number)
        changes = difference(parent.genome, trial.genome)
    fields = {name: getattr(trial, name) for name in TrialRecord.model_fields}
    detail = TrialDetail.model_construct(
        **fields, attempts=attempts, changes=changes, equal_tokens=_equal_tokens(parts, trial)
    )
    return answer(detail)


@router.post(
    "/trials/{number}/repeats",
    status_code=201,
    response_model=TrialRecord,
    responses=problems(404, 409),
)
def repeat_trial(
    request: Request, parts: Parts, actor: Writer, search_id: SearchId, number: TrialNumber
) -> Response:
    """Runs a candidate's block once more, with a fresh seed, on the pool that it ran on.

    It shows how much the block's figures vary. It counts neither for the race among finalists nor
    for the best.
    """
    record = parts.store.repeat_trial(search_id, number, actor=actor)
    parts.hub.poke()
    place = request.url_for("get_trial", search_id=record.search_id, number=record.number).path
    return answer(record, status=201, headers={"Location": place})


@router.get("/trials/{number}/ancestry", response_model=Trials, responses=problems(404, 409))
def get_ancestry(
    parts: Parts,
    search_id: SearchId,
    number: TrialNumber,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Returns the trial, its parent, its parent's parent ... to the first ancestor."""
    return _all(parts.store.ancestry(search_id, number, limit=limit))


@router.get("/population", response_model=Trials, responses=problems(404, 409))
def get_population(parts: Parts, search_id: SearchId) -> Response:
    """Returns the last P completed or pruned candidates, oldest first."""
    return _all(parts.store.population(search_id))


@router.get("/pareto", response_model=Trials, responses=problems(404, 409))
def get_pareto(parts: Parts, search_id: SearchId) -> Response:
    """Returns the front: who is beaten by none of its pool in loss, step time and parameters."""
    return _all(parts.store.pareto(search_id))


@router.get("/best", response_model=BestRecord, responses=problems(404, 409))
def get_best(parts: Parts, search_id: SearchId) -> Response:
    """Returns the best trial, and with what confidence it beats the baseline."""
    return answer(parts.store.best(search_id))


@router.get("/baselines", response_model=Baselines, responses=problems(404, 409))
def get_baselines(parts: Parts, search_id: SearchId) -> Response:
    """Returns the baseline's figures, pool by pool."""
    found = tuple(parts.store.baselines(search_id))
    return answer(Baselines.model_construct(items=found))


def _all(trials: list[TrialRecord]) -> Response:
    return answer(Trials.model_construct(items=tuple(trials)))


def _lines(
    parts: Controller,
    search_id: str,
    where: TrialFilter,
    items: tuple[TrialRecord, ...],
    cursor: str | None,
) -> Iterator[bytes]:
    """Yields a page's lines at a time; the next page is read when the last was sent."""
    while True:
        yield b"".join(trial.model_dump_json().encode() + b"\n" for trial in items)
        if cursor is None or parts.hub.closing:
            return
        page = parts.store.list_trials(search_id, where=where, cursor=cursor, limit=EXPORT_PAGE)
        items, cursor = page.items, page.next_cursor
