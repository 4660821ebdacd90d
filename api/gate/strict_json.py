"""Request bodies as strict JSON: no NaN, no infinity, no NUL, no deep nesting."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from brainformer.api.problems.problem import HttpProblem

NUL = b"\\u0000"
JSON_LINES = "application/jsonl"


def parse_json(body: bytes, *, max_depth: int) -> Any:
    """Returns the value that `body` holds.

    Raises:
        json.JSONDecodeError: it is not strict JSON, or nested deeper than `max_depth`.
    """
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise json.JSONDecodeError(str(error), "", 0) from None
    # PostgreSQL's text holds no NUL; an escaped backslash before it is refused too, harmlessly.
    if NUL in body:
        raise json.JSONDecodeError("NUL characters are not allowed", "", 0)
    if _deeper_than(value, max_depth):
        raise json.JSONDecodeError(f"nested deeper than {max_depth}", "", 0)
    return value


def _deeper_than(value: Any, limit: int) -> bool:
    """Returns whether more than `limit` containers stand within one another."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        below: list[Any] = []
        for item in level:
            below += item.values() if isinstance(item, dict) else item
        level = [item for item in below if isinstance(item, dict | list)]
        if not level:
            return False
    return bool(level)


async def json_of(request: Request) -> Any:
    """Returns the value of a request's body.

    Raises:
        HttpProblem: 400, it is not strict JSON.
    """
    depth = request.app.state.controller.settings.max_json_depth
    try:
        return parse_json(await request.body(), max_depth=depth)
    except json.JSONDecodeError as error:
        why = f"the body is not valid JSON: {error.msg}"
        raise HttpProblem(400, why, code="invalid_json") from None


def media_type(request: Request) -> str:
    """Returns the body's media type without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
