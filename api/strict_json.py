"""Request bodies as strict JSON: no NaN, no infinity, no NUL, no deep nesting."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

NUL = b"\\u0000"


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


class StrictRequest(Request):
    """A request whose JSON is strict."""

    async def json(self) -> Any:
        """Returns the body's value."""
        depth = self.app.state.controller.settings.max_json_depth
        return parse_json(await self.body(), max_depth=depth)


class StrictRoute(APIRoute):
    """Hands every endpoint a strict request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns the handler, its requests replaced by strict ones."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict
