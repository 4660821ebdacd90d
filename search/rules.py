"""Rules of pydantic in words for people, who know no tuples, tags or regular expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

M = TypeVar("M", bound=Mapping[str, Any])

# Patterns of names: the first character, further ones, and how many of these there may be.
NAME = re.compile(r"\^\[(?P<first>[^]]+)\]\[(?P<rest>[^]]+)\]\{0,(?P<most>\d+)\}\$")
LETTERS = {"a-z0-9": "lower-case letters, digits", "A-Za-z0-9": "letters, digits"}

IN_WORDS: dict[str, str] = {
    "missing": "is required",
    "extra_forbidden": "there is no such field",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "union_tag_not_found": "must have the field {discriminator}",
    "union_tag_invalid": "must have a {discriminator} that is {expected_tags}, not {tag!r}",
    "model_type": "must be a mapping of fields",
    "model_attributes_type": "must be a mapping of fields",
    "dict_type": "must be a mapping of fields",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} {entries}",
    "too_long": "must have at most {max_length} {entries}",
    "string_too_short": "must have at least {min_length} {characters}",
    "string_too_long": "must have at most {max_length} {characters}",
}


def rule_of(item: Mapping[str, Any]) -> str:
    """Returns the rule that one of pydantic's error details tells, in words.

    Most lack a subject ("must be at least 1"), which `search.errors.placed` finds in the pointer.

    Args:
        item: With `type`, `msg` and, unless the rule was worded elsewhere, `ctx`.
    """
    context = {name: _short(value) for name, value in (item.get("ctx") or {}).items()}
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "string_pattern_mismatch":
        return _pattern(str(context.get("pattern", "")), message)
    bound = context.get("min_length", context.get("max_length"))
    context |= {
        "entries": "entry" if bound == 1 else "entries",
        "characters": "character" if bound == 1 else "characters",
        "discriminator": str(context.get("discriminator", "")).strip("'"),
        "expected_tags": _either(str(context.get("expected_tags", ""))),
    }
    words = IN_WORDS.get(str(item["type"]))
    if words is None or "input" not in item:
        return message
    try:
        return words.format(**context)
    except KeyError:
        return message


def causes(items: Sequence[M]) -> list[M]:
    """Returns error details without those that follow from others.

    Pydantic counts the entries of a list that are sound: one wrong entry makes it "too short".
    """
    within = [tuple(item["loc"]) for item in items]
    return [
        item
        for item, at in zip(items, within, strict=True)
        if item["type"] != "too_short" or not any(one[: len(at)] == at != one for one in within)
    ]


def _short(value: object) -> object:
    """Returns a bound as people write it: 1 for 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _pattern(pattern: str, message: str) -> str:
    """Returns what names may be made of, in words; the message where the pattern is another."""
    found = NAME.fullmatch(pattern)
    if found is None or found["first"] not in LETTERS or not found["rest"].endswith("._-"):
        return message
    most = int(found["most"]) + 1
    return (
        f"must have 1 to {most} {LETTERS[found['first']]}, '.', '_' or '-', and begin with a "
        "letter or digit"
    )


def _either(listed: str) -> str:
    """Returns "'a', 'b', 'c'" as "'a', 'b' or 'c'"."""
    *all_but_last, last = listed.split(", ")
    return f"{', '.join(all_but_last)} or {last}" if all_but_last else last
