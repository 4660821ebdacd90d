"""YAML as people write it, read once, strictly: plain data, and the line of every field.

PyYAML reads YAML 1.1, in which `no` is a boolean, `2026-11-31` a date that ends in a traceback and
`1e-3` a word. Here only its parser is used, whose events become the values of YAML 1.2's core
schema (which JSON is part of). A key that appears twice, an alias and a tag are refused; nothing
recurses, so depth costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

LIMIT_BYTES = 256 * 1024
MOST_DEPTH = 64
MOST_DIGITS = 400
# The parser's own time grows with the square of the depth of brackets.
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STRING_TAGS = frozenset({"!", "!!str", "tag:yaml.org,2002:str"})
CONSTANTS: Mapping[str, Any] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf", ".Inf", "+.Inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN"), float("nan")),
}
INTEGER = re.compile(r"[-+]?[0-9]+")
BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class YamlProblem(ValueError):
    """Text that is not the YAML that is read here; the message has the line."""


@dataclass(frozen=True)
class YamlText:
    """What a text holds.

    Attributes:
        data: Plain JSON data.
        lines: The line, from 1, of every field and entry, by its JSON pointer.
    """

    data: Any
    lines: Mapping[str, int]


def read_yaml(text: str | bytes, *, limit_bytes: int = LIMIT_BYTES) -> YamlText:
    """Returns the one document in a text; nothing but spaces and comments is None.

    Raises:
        YamlProblem: it is too long, not YAML, or uses what is not read here.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > limit_bytes:
        raise YamlProblem(f"it has more than {limit_bytes // 1024} KiB, the most that is read")
    if _bracket_depth(data) > MOST_DEPTH:
        raise YamlProblem(f"brackets may be nested {MOST_DEPTH} deep")
    tree = _Tree()
    try:
        for event in yaml.parse(data, LOADER):
            tree.take(event)
    except yaml.MarkedYAMLError as error:
        mark, why = error.problem_mark or error.context_mark, error.problem or error.context
        last = data.rstrip(b"\n").count(b"\n")  # the parser counts one more at the end
        place = f" (line {last + 1}, the end)" if mark and mark.line > last else _place(mark)
        raise YamlProblem(f"{why}{place}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise YamlProblem(_unreadable(error)) from None
    return YamlText(tree.document, tree.lines)


@dataclass
class _Container:
    """A list or mapping whose end has not come yet."""

    value: list[Any] | dict[str, Any]
    pointer: str
    key: str | None = None

    def next_pointer(self) -> str:
        part = str(len(self.value)) if isinstance(self.value, list) else str(self.key)
        return f"{self.pointer}/{part.replace('~', '~0').replace('/', '~1')}"


@dataclass
class _Tree:
    """Data built from events, without recursion."""

    document: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    _open: list[_Container] = field(default_factory=list)
    _documents: int = 0

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise YamlProblem(f"there must be one document{_place(mark)}")
        elif isinstance(event, yaml.AliasEvent):
            raise YamlProblem(f"aliases are not read here{_place(mark)}")
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._begin([] if isinstance(event, yaml.SequenceStartEvent) else {}, event)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            self._open.pop()

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if "\0" in event.value:
            raise YamlProblem(f"NUL characters are not allowed{_place(event.start_mark)}")
        if self._wants_key():
            self._key(event.value, event.start_mark)
        else:
            self._add(_value(event), event.start_mark)

    def _wants_key(self) -> bool:
        inner = self._open[-1] if self._open else None
        return inner is not None and isinstance(inner.value, dict) and inner.key is None

    def _key(self, name: str, mark: Any) -> None:
        inner = self._open[-1]
        inner.key = name
        first = self.lines.get(inner.next_pointer())
        if isinstance(inner.value, dict) and name in inner.value:
            raise YamlProblem(f"{name!r} appears twice, first in line {first}{_place(mark)}")
        self.lines[inner.next_pointer()] = mark.line + 1

    def _begin(self, value: list[Any] | dict[str, Any], event: Any) -> None:
        if self._wants_key():
            raise YamlProblem(f"a key must be a word{_place(event.start_mark)}")
        if len(self._open) >= MOST_DEPTH:
            raise YamlProblem(f"it is nested more than {MOST_DEPTH} deep{_place(event.start_mark)}")
        if event.tag is not None:
            raise YamlProblem(f"tags are not read here{_place(event.start_mark)}")
        self._open.append(_Container(value, self._add(value, event.start_mark)))

    def _add(self, value: Any, mark: Any) -> str:
        """Puts a value where it belongs; returns its JSON pointer."""
        if not self._open:
            self.document = value
            return ""
        inner = self._open[-1]
        pointer = inner.next_pointer()
        if isinstance(inner.value, list):
            inner.value.append(value)
            self.lines[pointer] = mark.line + 1
        else:
            inner.value[str(inner.key)] = value
            inner.key = None
        return pointer


def _value(event: yaml.ScalarEvent) -> Any:
    """Returns what a scalar means in YAML 1.2's core schema."""
    text: str = event.value
    if event.tag is not None and event.tag not in STRING_TAGS:
        raise YamlProblem(f"tags are not read here{_place(event.start_mark)}")
    if event.tag is not None or not event.implicit[0]:
        return text
    if text in CONSTANTS:
        return CONSTANTS[text]
    number = INTEGER.fullmatch(text) or BASED.fullmatch(text) or FLOAT.fullmatch(text)
    if number is None:
        return text
    if len(text) > MOST_DIGITS:
        raise YamlProblem(f"a number has {len(text):,} digits{_place(event.start_mark)}")
    if number.re is BASED:
        return int(text, 0)
    return int(text) if number.re is INTEGER else float(text)


def _bracket_depth(data: bytes) -> int:
    """Returns how deep brackets are nested, those in strings and comments counted too."""
    depth = deepest = 0
    for byte in _brackets(data):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _brackets(data: bytes) -> Iterator[int]:
    return iter(data.translate(None, NO_BRACKETS))


def _place(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


def _unreadable(error: Exception) -> str:
    """Returns what the reader says of a byte or a character that is not text."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} (position {error.position})"
    return str(error).partition("\n")[0]
