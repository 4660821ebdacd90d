"""Request bodies read strictly: JSON without coercion, so that "1" and true are no numbers.

FastAPI validates what a body was parsed to, where strictness would refuse lists for tuples; here
the model validates the JSON itself, which knows the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from api.errors import HttpProblem
from api.strict_json import json_of, media_type

Model = TypeVar("Model", bound=BaseModel)
READ: set[type[BaseModel]] = set()


def strict_body(model: type[Model]) -> Any:
    """Returns the dependency that gives the body as `model`."""
    READ.add(model)
    return Depends(_reader(model))


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Returns what OpenAPI says of the body: `openapi_extra` of the route."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _reader(model: type[Model]) -> Callable[[Request], Coroutine[Any, Any, Model]]:
    async def read(request: Request) -> Model:
        if media_type(request) != "application/json":
            raise HttpProblem(415, "send the body as application/json")
        parsed = await json_of(request)
        try:
            return model.model_validate_json(await request.body(), strict=True)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            located = [{**item, "loc": ("body", *item["loc"])} for item in found]
            raise RequestValidationError(located, body=parsed) from None

    return read
