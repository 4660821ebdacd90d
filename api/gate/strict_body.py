"""Request bodies read strictly: JSON without coercion, so that "1" and true are not numbers.

FastAPI validates what a body was parsed to, where strictness would refuse lists for tuples; here
the model validates the JSON itself, which knows the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from brainformer.api.gate.strict_json import json_of, media_type
from brainformer.api.problems.problem import HttpProblem

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
        body = await request.body()
        try:
            return _validated(model, body, parsed)
        except ValidationError as error:
            found = error.errors(include_url=False)
            located = [{**item, "loc": ("body", *item["loc"])} for item in found]
            raise RequestValidationError(located, body=parsed) from None

    return read


def _validated(model: type[Model], body: bytes, parsed: Any) -> Model:
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError:
        # To JSON, and to the schema that we publish, 2.0 is an integer; to the validator it is not.
        whole = _with_integers(parsed)
        return model.model_validate_json(to_json(whole), strict=True)


def _with_integers(value: Any) -> Any:
    """Returns the JSON value with every whole number written as an integer."""
    if isinstance(value, dict):
        return {key: _with_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    exact = isinstance(value, float) and value.is_integer() and abs(value) <= 2**53
    return int(value) if exact else value
