"""Searches: create, list, get, change, pause, resume, stop, cancel, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from brainformer.api.dependencies import (
    Cursor,
    KnownTag,
    Parts,
    Reads,
    SearchId,
    Version,
    Writer,
)
from brainformer.api.gate.admission import admit
from brainformer.api.gate.idempotency import IdempotencyKey
from brainformer.api.gate.strict_body import body_schema, strict_body
from brainformer.api.gate.strict_json import JSON_LINES, json_of, media_type
from brainformer.api.problems.problem import HttpProblem, problems, validated
from brainformer.api.routes.answers import (
    answer,
    created,
    next_link,
    tagged,
    unless_known,
)
from brainformer.api.schemas import SearchChange, SearchPage
from brainformer.search.campaign.evaluated import EvaluatedSearch, read_evaluated
from brainformer.search.campaign.fitting import Campaign, carried_into
from brainformer.search.spec import SearchSpec, parse_spec
from brainformer.search.status import SearchStatus
from brainformer.search.store.records import SearchRecord
from brainformer.search.yaml_text import LIMIT_BYTES as YAML_LIMIT_BYTES

router = APIRouter(prefix="/searches", tags=["searches"])
specs = APIRouter(prefix="/specs", tags=["searches"])

YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
SPEC_SCHEMA = {"$ref": "#/components/schemas/SearchSpec"}
SPEC_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": SPEC_SCHEMA},
            "application/yaml": {"schema": SPEC_SCHEMA},
            JSON_LINES: {
                "schema": {
                    "type": "string",
                    "description": "A spec, then what `trials.jsonl?header=true` gave of the "
                    "searches that it goes on from, one object a line.",
                }
            },
        },
    }
}
# YAML is read as people write it (`hurdle: 0`), so its text is described, not its data.
SPEC_TEXT = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": SPEC_SCHEMA},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}
LINKS = {
    name: {"operationId": name, "parameters": {"search_id": "$response.body#/id"}}
    for name in (
        "get_search",
        "change_search",
        "pause_search",
        "cancel_search",
        "delete_search",
        "list_trials",
        "get_population",
    )
}


@router.post(
    "",
    status_code=201,
    response_model=SearchRecord,
    openapi_extra=SPEC_BODY,
    responses={**problems(409, 413, 415), 201: {"description": "Created", "links": LINKS}},
)
async def create_search(
    request: Request, parts: Parts, actor: Writer, idempotency_key: IdempotencyKey = None
) -> Response:
    """Creates a running search from a spec in JSON or YAML.

    With an Idempotency-Key, a repeat with the same body returns the search made before. In JSON
    lines, trials that other searches have evaluated may follow the spec: the search begins with
    those of its own space, proxy, data and baseline, pool by pool.
    """
    wanted = await _wanted_in(request)

    def create() -> SearchRecord:
        with parts.keys.held(idempotency_key):
            admit(wanted.spec, parts.settings, parts.datasets)
            return parts.store.create_search(
                wanted.spec,
                actor=actor,
                idempotency_key=idempotency_key,
                most_open=parts.settings.max_open_searches,
                campaign=wanted.campaign(),
            )

    record = await run_in_threadpool(create)
    parts.hub.poke()
    return created(request, record)


@router.get("", response_model=SearchPage, responses=problems(), dependencies=[Reads])
def list_searches(
    request: Request,
    parts: Parts,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    status: Annotated[list[SearchStatus] | None, Query()] = None,
) -> Response:
    """Lists searches, newest first."""
    page = parts.store.list_searches(cursor=cursor, limit=limit, statuses=status or ())
    body = SearchPage.model_construct(items=page.items, next_cursor=page.next_cursor)
    return answer(body, headers=next_link(request, page.next_cursor))


@router.get(
    "/{search_id}",
    response_model=SearchRecord,
    responses={**problems(404, 409), 304: {"description": "Unchanged since the ETag given"}},
    dependencies=[Reads],
)
def get_search(parts: Parts, search_id: SearchId, if_none_match: KnownTag = None) -> Response:
    """Returns a search and where it stands; its ETag serves If-Match and If-None-Match."""
    return unless_known(tagged(parts.store.get_search(search_id)), if_none_match)


@router.patch(
    "/{search_id}",
    response_model=SearchRecord,
    responses=problems(404, 409, 412, 413),
    openapi_extra=body_schema(SearchChange),
)
def change_search(
    parts: Parts,
    actor: Writer,
    search_id: SearchId,
    change: Annotated[SearchChange, strict_body(SearchChange)],
    version: Version,
) -> Response:
    """Replaces the limits of a search that has not ended."""
    record = parts.store.change_limits(search_id, change.limits, actor=actor, version=version)
    parts.hub.poke()
    return tagged(record)


@router.post("/{search_id}/pause", response_model=SearchRecord, responses=problems(404, 409, 412))
def pause_search(parts: Parts, actor: Writer, search_id: SearchId, version: Version) -> Response:
    """Starts no new trials; the running ones finish. Asking twice is harmless."""
    return _become(SearchStatus.PAUSED, parts, actor, search_id, version)


@router.post("/{search_id}/resume", response_model=SearchRecord, responses=problems(404, 409, 412))
def resume_search(parts: Parts, actor: Writer, search_id: SearchId, version: Version) -> Response:
    """Goes on with a paused search. Asking twice is harmless."""
    return _become(SearchStatus.RUNNING, parts, actor, search_id, version)


@router.post("/{search_id}/stop", response_model=SearchRecord, responses=problems(404, 409, 412))
def stop_search(parts: Parts, actor: Writer, search_id: SearchId, version: Version) -> Response:
    """Starts no new trials and ends when the running ones have. Asking twice is harmless."""
    return _become(SearchStatus.STOPPING, parts, actor, search_id, version)


@router.post("/{search_id}/cancel", response_model=SearchRecord, responses=problems(404, 409, 412))
def cancel_search(parts: Parts, actor: Writer, search_id: SearchId, version: Version) -> Response:
    """Ends at once; workers give their trials up. Asking twice is harmless."""
    return _become(SearchStatus.CANCELLED, parts, actor, search_id, version)


@router.delete(
    "/{search_id}",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409, 412),
)
def delete_search(parts: Parts, actor: Writer, search_id: SearchId, version: Version) -> Response:
    """Deletes a search that has ended, with its trials and events."""
    parts.store.delete_search(search_id, actor=actor, version=version)
    parts.hub.poke()
    return Response(status_code=204)


@specs.post(
    "/check",
    response_model=SearchSpec,
    openapi_extra=SPEC_TEXT,
    responses=problems(413, 415),
    dependencies=[Reads],
)
async def check_spec(request: Request, parts: Parts) -> Response:
    """Checks a spec as `create_search` does; returns it with its defaults and creates nothing."""
    wanted = await _wanted_in(request)
    await run_in_threadpool(admit, wanted.spec, parts.settings, parts.datasets)
    return answer(wanted.spec)


def _become(
    wanted: SearchStatus, parts: Parts, actor: Writer, search_id: str, version: int | None
) -> Response:
    record = parts.store.change_status(search_id, wanted, actor=actor, version=version)
    parts.hub.poke()
    return tagged(record)


class _Wanted(NamedTuple):
    """What a body asks for."""

    spec: SearchSpec
    evaluated: Sequence[EvaluatedSearch] = ()

    def campaign(self) -> Campaign | None:
        """Returns what the search begins with.

        Raises:
            InvalidInput: it does not fit the spec.
        """
        return carried_into(self.spec, self.evaluated) if self.evaluated else None


async def _wanted_in(request: Request) -> _Wanted:
    """Returns the spec in the body, and the trials behind it.

    Raises:
        HttpProblem: 415, neither JSON nor YAML nor JSON lines.
        InvalidSpec: it breaks a rule (YAML); RequestValidationError names them all (JSON).
        InvalidInput: a line after the spec is not a trial.
    """
    kind = media_type(request)
    if kind == JSON_LINES:
        return await run_in_threadpool(_read_lines, await request.body())
    if kind in YAML_TYPES:
        body = await request.body()
        if len(body) > YAML_LIMIT_BYTES:
            raise HttpProblem(413, f"a spec in YAML must be at most {YAML_LIMIT_BYTES} bytes")
        return _Wanted(await run_in_threadpool(parse_spec, body))
    if kind != "application/json":
        raise HttpProblem(
            415, "send a spec as application/json, application/yaml or application/jsonl"
        )
    spec: SearchSpec = validated(SearchSpec, await json_of(request))
    return _Wanted(spec)


def _read_lines(body: bytes) -> _Wanted:
    """Returns the spec on the first line, and the trials on the others."""
    first, _, rest = body.partition(b"\n")
    spec = parse_spec(first)
    return _Wanted(spec, read_evaluated(rest.split(b"\n"), name="the body after its spec"))
