"""Pydantic's errors as one sentence and a JSON pointer into the caller's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, Discriminator, Tag, ValidationError


class Problem(NamedTuple):
    """A broken rule, as `InvalidInput` takes it.

    Attributes:
        rule: One sentence.
        value: The offending value; None if it is not a plain one.
        pointer: JSON pointer into what the caller wrote.
    """

    rule: str
    value: str | int | float | bool | None
    pointer: str


def first_problem(error: ValidationError, data: object = None) -> Problem:
    """Returns the first problem that pydantic found.

    Args:
        error: From validating `data`.
        data: The caller's input, as plain JSON data; None if it is not at hand.
    """
    first = error.errors(include_url=False)[0]
    value = first.get("input")
    shown = value if isinstance(value, str | int | float | bool) else None
    return Problem(rule_of(first["msg"]), shown, pointer(first["loc"], data))


def rule_of(message: str) -> str:
    """Returns the sentence in one of pydantic's messages."""
    return message.removeprefix("Value error, ")


def pointer(location: Sequence[str | int], data: object) -> str:
    """Returns the JSON pointer of an error's location, "" for the whole document.

    A location also names the members of unions that were tried; parts that are not fields of `data`
    are dropped, except the last one, which may be a missing field. Without `data` all are kept.
    """
    parts: list[str] = []
    node: Any = data
    for place, part in enumerate(location):
        if _holds(node, part):
            node = node[part]
        elif data is not None and (place < len(location) - 1 or not isinstance(node, dict)):
            continue
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _holds(node: Any, part: str | int) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)


def _is_name(value: object) -> str:
    return "definition" if isinstance(value, dict | BaseModel) else "name"


# For `Annotated[str, NAME] | Annotated[Model, DEFINITION]`: tries only the member that was meant.
NAME = Tag("name")
DEFINITION = Tag("definition")
NAME_OR_DEFINITION = Discriminator(_is_name)
