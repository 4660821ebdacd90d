"""The OpenAPI schema: every model, an example for each body, operation ids that do not change.

docs/openapi.json is its snapshot, written by `make snapshots`; a test compares, so that no change
of the interface goes unseen.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from brainformer.api.gate.strict_body import READ
from brainformer.api.problems.problem import Problem
from brainformer.api.reference.examples import ANSWERS, BODIES
from brainformer.search.spec import SearchSpec

# In the order of the reference, which is not that in which routes are tried.
TAGS = (
    "searches",
    "trials",
    "reports",
    "certificates",
    "charts",
    "events",
    "leases",
    "catalogue",
    "pools",
    "promotions",
    "access",
    "operation",
)


def operation_id(route: APIRoute) -> str:
    """Returns the id of an operation: its function's name, whatever its path."""
    return route.name


def schema_maker(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Returns what makes the app's schema once: all models, with examples."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            _add_models(schema)
            schema["paths"] = _in_order(schema["paths"])
            for methods in schema["paths"].values():
                for operation in methods.values():
                    _add_examples(operation)
            app.openapi_schema = schema
        return app.openapi_schema

    return openapi


def _in_order(paths: dict[str, Any]) -> dict[str, Any]:
    """Returns the paths in the order of their first operation's tag."""

    def place(path: str) -> int:
        first: dict[str, Any] = next(iter(paths[path].values()))
        return TAGS.index(first["tags"][0])

    return {path: paths[path] for path in sorted(paths, key=place)}


def _add_models(schema: dict[str, Any]) -> None:
    """Adds the models that no route names by itself."""
    schemas = schema["components"]["schemas"]
    bodies = sorted(READ, key=lambda model: model.__name__)
    models: list[type[BaseModel]] = [Problem, SearchSpec, *bodies]
    for model in models:
        made = model.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, inner in made.pop("$defs", {}).items():
            schemas.setdefault(name, inner)
        schemas.setdefault(model.__name__, made)


def _add_examples(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    if name in BODIES:
        for content in operation["requestBody"]["content"].values():
            content["example"] = BODIES[name]
    if name in ANSWERS:
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                response["content"]["application/json"]["example"] = ANSWERS[name]


def snapshot(app: FastAPI) -> str:
    """Returns the text of docs/openapi.json: keys sorted, without the version of the package."""
    schema = app.openapi()
    schema = {**schema, "info": {**schema["info"], "version": "snapshot"}}
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
