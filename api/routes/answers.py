"""How routes answer: models as JSON without a second validation, tags, links to the next page."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request, Response
from pydantic import BaseModel

from brainformer.search.store.records import SearchRecord

JSON = "application/json"


def answer(
    model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Returns a model as a JSON response."""
    return Response(
        model.model_dump_json(), status_code=status, media_type=JSON, headers=dict(headers or {})
    )


def tagged(record: SearchRecord, *, status: int = 200, location: str | None = None) -> Response:
    """Returns a search with its version as ETag."""
    headers = {"ETag": f'"{record.version}"'}
    if location is not None:
        headers["Location"] = location
    return answer(record, status=status, headers=headers)


def created(request: Request, record: SearchRecord) -> Response:
    """Returns a new search or study, and where it is found."""
    location = request.url_for("get_search", search_id=record.id).path
    return tagged(record, status=201, location=location)


def unless_known(response: Response, known: str | None) -> Response:
    """Returns the answer, or 304 without a body if the caller holds it already.

    Args:
        response: Has an ETag.
        known: The header If-None-Match.
    """
    tags = {tag.strip().removeprefix("W/") for tag in (known or "").split(",")}
    if response.headers["etag"] in tags or "*" in tags:
        return Response(status_code=304, headers={"ETag": response.headers["etag"]})
    return response


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """Returns the Link header that leads to the next page, if there is one."""
    if cursor is None:
        return {}
    url = request.url.include_query_params(cursor=cursor)
    return {"Link": f'<{url.path}?{url.query}>; rel="next"'}
