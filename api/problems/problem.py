"""Problems over HTTP (RFC 9457): which status each of this project's errors has, and the answer.

Every answer from 400 on, the framework's own included, is `application/problem+json` with a
stable `code`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from brainformer.api.logs import request_id
from brainformer.api.problems.allowed_methods import allowed_methods
from brainformer.search import errors as tree
from brainformer.search import storage_errors as storage
from brainformer.search.rules import causes, rule_of
from brainformer.search.validation import BrokenRules, checked, pointer

log = logging.getLogger("brainformer.api")
PROBLEM_JSON = "application/problem+json"

# The nearest class in an error's ancestry decides; a test proves that each leaf finds one.
STATUS: Mapping[type[tree.BrainformerError], int] = MappingProxyType(
    {
        tree.BrainformerError: 500,
        tree.InvalidInput: 422,
        tree.NotFound: 404,
        tree.Conflict: 409,
        tree.StaleVersion: 412,
        tree.IdempotencyMismatch: 422,
        tree.SpaceExhausted: 409,
        tree.TrainingDiverged: 500,
        storage.StorageError: 503,
        storage.SchemaMismatch: 503,
        tree.EnvironmentProblem: 503,
        tree.ControllerUnreachable: 502,
        tree.NotAuthorised: 502,
    }
)
RETRY_AFTER_SECONDS: Mapping[type[tree.BrainformerError], int] = MappingProxyType(
    {
        storage.StorageUnavailable: 2,
        storage.StorageBusy: 1,
        storage.StorageHeld: 2,
        # Somebody has to act first.
        storage.StorageFull: 30,
        storage.StorageReadOnly: 30,
        storage.StorageDamaged: 30,
        storage.StorageReplaced: 30,
        storage.StoreLocked: 2,
        tree.IdempotencyInFlight: 1,
    }
)
T = TypeVar("T")

HTTP_CODES: Mapping[int, str] = MappingProxyType(
    {
        400: "bad_request",
        401: "unauthenticated",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
        408: "body_too_slow",
        413: "body_too_large",
        415: "unsupported_media_type",
        421: "unknown_host",
        429: "too_many_requests",
    }
)


class FieldError(BaseModel):
    """One field that breaks a rule: where it stands, and the rule."""

    pointer: str = Field(description="JSON pointer into the body, or the parameter's name.")
    detail: str
    code: str = "invalid"


class Problem(BaseModel):
    """What went wrong, for programs (`code`) and for people (`detail`); RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": "no search warm-toad",
                "code": "not_found",
                "request_id": "0f5c2f7e9a1b4c7d",
                "errors": [],
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str = ""
    errors: tuple[FieldError, ...] = ()


class HttpProblem(HTTPException):
    """A refusal that belongs to HTTP itself: authentication, limits, media types.

    An HTTPException, since FastAPI lets only these through while it reads a body.
    """

    def __init__(
        self, status: int, detail: str, *, code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers=dict(headers or {}))
        self.code = code or HTTP_CODES.get(status, f"http_{status}")


def status_of(error: tree.BrainformerError) -> int:
    """Returns the HTTP status of an error."""
    return _nearest(STATUS, error) or STATUS[tree.BrainformerError]


def _nearest(table: Mapping[type[tree.BrainformerError], T], error: object) -> T | None:
    """Returns what the table says of the nearest class in an error's ancestry."""
    return next((table[cls] for cls in type(error).__mro__ if cls in table), None)


def problem_response(
    status: int,
    detail: str,
    *,
    code: str = "",
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Returns the answer that tells a problem."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code or HTTP_CODES.get(status, f"http_{status}"),
        request_id=request_id.get(),
        errors=tuple(errors),
    )
    return Response(
        problem.model_dump_json(),
        status_code=status,
        media_type=PROBLEM_JSON,
        headers=dict(headers or {}),
    )


def problem_of(error: BaseException) -> Response:
    """Returns the answer for any error; what is not foreseen is a 500 that tells nothing."""
    if isinstance(error, tree.BrainformerError):
        return _of_ours(error)
    if isinstance(error, HttpProblem):
        return problem_response(
            error.status_code, error.detail, code=error.code, headers=error.headers
        )
    if isinstance(error, RequestValidationError):
        return _of_validation(error.errors(), error.body)
    if isinstance(error, StarletteHTTPException):
        return problem_response(error.status_code, str(error.detail), headers=error.headers)
    return problem_response(
        500, "the controller failed; its log tells more under this request id", code="internal"
    )


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem."""
    for kind in (tree.BrainformerError, RequestValidationError, StarletteHTTPException):
        app.add_exception_handler(kind, _handle)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns what OpenAPI says of an operation's problems, those that all share included."""
    of_bodies = {408, 415} if 413 in statuses else set()
    every = sorted({400, 401, 403, 421, 422, 429, 500, 503, *of_bodies, *statuses})
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_JSON: {"schema": schema}},
        }
        for status in every
    }


def validated(model: type[BaseModel], data: object) -> Any:
    """Returns `data` as a model.

    Raises:
        RequestValidationError: with the pointer of every field that breaks a rule.
    """
    try:
        return checked(model, data)
    except BrokenRules as broken:
        found = [
            {"loc": ("field", one.pointer), "msg": one.rule, "type": one.code}
            for one in broken.found
        ]
        raise RequestValidationError(found, body=data) from None


async def _handle(request: Request, error: Exception) -> Response:
    answer = problem_of(error)
    if answer.status_code == 405:
        allowed = allowed_methods(
            request.app, request.url.path.removeprefix(request.scope.get("root_path", ""))
        )
        answer.headers["Allow"] = allowed or answer.headers.get("Allow", "")
    return answer


def _of_ours(error: tree.BrainformerError) -> Response:
    status = status_of(error)
    if status >= 500:
        log.error("%s: %s", error.code, error.message)
    wait = _nearest(RETRY_AFTER_SECONDS, error)
    headers = {} if wait is None else {"Retry-After": str(wait)}
    fields: tuple[FieldError, ...] = ()
    if isinstance(error, tree.InvalidInput):
        fields = tuple(
            FieldError(pointer=one.pointer, detail=one.rule, code=one.code)
            for one in (error, *error.others)
        )
    return problem_response(status, error.message, code=error.code, errors=fields, headers=headers)


def _of_validation(items: Sequence[Any], body: object) -> Response:
    found = causes(items)
    fields = [
        FieldError(
            pointer=_pointer(item["loc"], body),
            detail=rule_of(item),
            code=str(item["type"]),
        )
        for item in found[:50]
    ]
    first = fields[0] if fields else FieldError(pointer="", detail="a rule is broken")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return problem_response(
        422,
        f"{tree.placed(first.detail, first.pointer)}{more}",
        code="invalid_input",
        errors=fields,
    )


def _pointer(location: Sequence[Any], body: object) -> str:
    """Returns the JSON pointer of a body's field, or the name of a parameter."""
    where, *rest = location or ("body",)
    return pointer(rest, body) if where == "body" else ".".join(str(part) for part in rest)
