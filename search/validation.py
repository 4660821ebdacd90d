"""What is wrong with plain data, all of it at once: rules, JSON pointers, lines, suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, Discriminator, Tag, ValidationError

from brainformer.search.errors import InvalidInput
from brainformer.search.rules import causes, rule_of

M = TypeVar("M", bound=BaseModel)
E = TypeVar("E", bound=InvalidInput)
MOST_TOLD = 10
NOTHING: Mapping[str, int] = {}


@dataclass(frozen=True)
class Broken:
    """One rule that is broken.

    Attributes:
        rule: In words.
        value: What was met; None if it is not a plain value.
        pointer: JSON pointer of the field.
        code: The rule's name, for programs.
    """

    rule: str
    value: object
    pointer: str
    code: str


class BrokenRules(ValueError):
    """Data that breaks rules; raised by `checked`."""

    def __init__(self, found: Sequence[Broken]) -> None:
        super().__init__("; ".join(one.rule for one in found))
        self.found = tuple(found)

    def as_error(self, kind: type[E], lines: Mapping[str, int] = NOTHING) -> E:
        """Returns the error that tells every rule, each with the line of its field if known."""
        errors = [
            kind(one.rule, one.value, one.pointer, line=_line(lines, one.pointer))
            for one in self.found[:MOST_TOLD]
        ]
        first, more = self.found[0], len(self.found) - MOST_TOLD
        if more > 0:
            errors.append(kind(f"and {more} more"))
        line = _line(lines, first.pointer)
        return kind(first.rule, first.value, first.pointer, line=line, others=errors[1:])


def checked(model: type[M], data: object) -> M:
    """Returns plain data as a model.

    Raises:
        BrokenRules: all rules that it breaks, one a field.
    """
    try:
        found = model.model_validate(data)
    except ValidationError as error:
        raise BrokenRules(broken_rules(model, error, data)) from None
    misread = misread_booleans(data, found)
    if misread:
        raise BrokenRules(misread)
    return found


def broken_rules(model: type[BaseModel], error: ValidationError, data: object) -> list[Broken]:
    """Returns what pydantic found wrong with plain data, one rule a field."""
    found: dict[str, Broken] = {}
    for item in causes(error.errors(include_url=False)):
        where = pointer(item["loc"], data)
        value = item.get("input")
        shown = value if isinstance(value, str | int | float | bool) else None
        rule = rule_of(item)
        if item["type"] == "extra_forbidden":
            rule, shown = f"there is no such field{_suggestion(model, item['loc'])}", None
        found.setdefault(where, Broken(rule, shown, where, item["type"]))
    return list(found.values())


def misread_booleans(data: object, found: object) -> list[Broken]:
    """Returns where plain data has true or false and the model that was made of it a number."""
    rule = "true and false are not numbers"
    return [Broken(rule, value, at, "bool_type") for at, value in _misread(data, found)]


def _suggestion(model: type[BaseModel], location: Sequence[str | int]) -> str:
    """Returns what the caller may have meant by a field that is not there."""
    models = [model]
    for part in location[:-1]:
        inner = [m for one in models for m in _inner(one, part)]
        models = inner or models
    names = sorted({name for one in models for name in one.model_fields})
    near = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _inner(model: type[BaseModel], name: str | int) -> Iterator[type[BaseModel]]:
    """Yields the models that a field's type names."""
    field = model.model_fields.get(str(name))
    stack: list[Any] = [] if field is None else [field.annotation]
    while stack:
        kind = stack.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
        stack += get_args(kind)


def _misread(data: object, found: object) -> Iterator[tuple[str, bool]]:
    """Yields where `data` has a boolean that the model has read as a number."""
    stack: list[tuple[str, Any, Any]] = [("", data, found)]
    while stack:
        at, given, read = stack.pop()
        if isinstance(given, bool):
            if isinstance(read, int | float) and not isinstance(read, bool):
                yield at, given
        elif isinstance(given, dict):
            stack += [(_below(at, name), one, _member(read, name)) for name, one in given.items()]
        elif isinstance(given, list | tuple) and isinstance(read, list | tuple):
            entries = enumerate(zip(given, read, strict=False))
            stack += [(_below(at, place), one, other) for place, (one, other) in entries]


def _member(read: object, name: object) -> object:
    if isinstance(read, Mapping):
        return read.get(name)
    return getattr(read, str(name), None) if isinstance(read, BaseModel) else None


def _line(lines: Mapping[str, int], at: str) -> int | None:
    """Returns the line of a field, or of the nearest one around it that is there."""
    while at and at not in lines:
        at = at.rpartition("/")[0]
    return lines.get(at)


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
    return Problem(rule_of(first), shown, pointer(first["loc"], data))


def pointer(location: Sequence[str | int], data: object) -> str:
    """Returns the JSON pointer of an error's location, "" for the whole document.

    A location also names the members of unions that were tried; parts that are not fields of `data`
    are dropped, except the last one, which may be a missing field. Without `data` all are kept.
    """
    at = ""
    node: Any = data
    for place, part in enumerate(location):
        if _holds(node, part):
            node = node[part]
        elif data is not None and (place < len(location) - 1 or not isinstance(node, dict)):
            continue
        at = _below(at, part)
    return at


def _below(at: str, part: object) -> str:
    return f"{at}/{str(part).replace('~', '~0').replace('/', '~1')}"


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
