"""Which methods a path has: the framework's 405 names those of the first route that matches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from fastapi import FastAPI


def allowed_methods(app: FastAPI, path: str) -> str | None:
    """Returns the value of the header Allow; None for a path that the schema does not hold."""
    found = [methods for pattern, methods in _patterns(app) if pattern.fullmatch(path)]
    return ", ".join(sorted(set().union(*found))) if found else None


@cache
def _patterns(app: FastAPI) -> tuple[tuple[re.Pattern[str], frozenset[str]], ...]:
    return tuple(_each(app))


def _each(app: FastAPI) -> Iterator[tuple[re.Pattern[str], frozenset[str]]]:
    for template, methods in app.openapi()["paths"].items():
        parts = re.split(r"\{[^}]+\}", template)
        pattern = "[^/]+".join(re.escape(part) for part in parts)
        yield re.compile(pattern), frozenset(method.upper() for method in methods)
