"""What pydantic found wrong, as one sentence and a JSON pointer into what the caller wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, Discriminator, Tag, ValidationError


class Problem(NamedTuple):
    """What a rule was broken by: as `InvalidInput` takes it.

    Attributes:
        rule: One sentence.
        value: What was met; None if it is not a plain value.
        pointer: JSON pointer into what the caller wrote.
    """

    rule: str
    value: str | int | float | bool | None
    pointer: str


def first_problem(error: ValidationError, data: object = None) -> Problem:
    """Returns what pydantic found wrong first.

    Args:
        error: Of validating `data`.
        data: What the caller wrote, as plain JSON data; None where it is not at hand.
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

    A location also names the members of unions that were tried; what is no field of `data` is left
    out, but for the last part, which may be a field that is missing. Without `data` all is kept.
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


# For `Annotated[str, NAME] | Annotated[Model, DEFINITION]`: only what was meant is tried.
NAME = Tag("name")
DEFINITION = Tag("definition")
NAME_OR_DEFINITION = Discriminator(_is_name)
