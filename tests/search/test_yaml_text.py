"""YAML as people write it: what it means, and what is refused, in which line."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.yaml_text import YamlProblem, read_yaml

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~", max_size=3), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-11-31", "2026-11-31"),
        ("2026-11-24", "2026-11-24"),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("1e-3", 0.001),
        ("1_000", "1_000"),
        ("010", 10),
        ("0x1F", 31),
        ("-7", -7),
        ("3.", 3.0),
        (".5", 0.5),
        ("~", None),
        ("null", None),
        ("true", True),
        ("'true'", "true"),
        ("!!str 5", "5"),
        ('"5"', "5"),
        ("", None),
        ("# nothing", None),
        ("<<: 1", {"<<": 1}),
        ("1: a", {"1": "a"}),
        ("no: a", {"no": "a"}),
    ],
)
def test_words_mean_what_they_look_like(text: str, value: object) -> None:
    found = read_yaml(text).data
    assert found == value
    assert type(found) is type(value)


def test_infinity_is_read_for_a_rule_to_refuse() -> None:
    assert read_yaml("[.inf, -.inf]").data == [math.inf, -math.inf]


def test_every_field_has_its_line() -> None:
    lines = read_yaml("a: 1\nb:\n  - x\n  - c/d: {e~f: 2}\n").lines
    assert lines == {"/a": 1, "/b": 2, "/b/0": 3, "/b/1": 4, "/b/1/c~1d": 4, "/b/1/c~1d/e~0f": 4}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", r"'a' appears twice, first in line 1 \(line 3, column 1\)"),
        ("a: {x: 1, x: 1}", r"'x' appears twice"),
        ("a: {}\na: 1", r"'a' appears twice"),
        ("a: &x 1\nb: *x", r"aliases are not read here \(line 2"),
        ("a: !!python/object:os.system x", r"tags are not read here \(line 1"),
        ("a: !!set {x}", r"tags are not read here"),
        ("a: 1\nb: " + "9" * 5000, r"a number has 5,000 digits \(line 2"),
        ("a:\n\t- b", r"\(line 2, column 1\)"),
        ("a:\n- [", r"\(line 2, the end\)"),
        ("a: b: c", r"\(line 1, column 5\)"),
        ("---\na\n---\nb", r"one document \(line 3"),
        ("? [a]\n: b", r"a key must be a word"),
        ("[" * 100_000, r"brackets may be nested 64 deep"),
        ("- " * 100_000, r"nested more than 64 deep"),
        ('a: "\\0"', r"NUL characters are not allowed \(line 1"),
        ("a: \x1b[31m", r"control characters"),
        (b"a: caf\xe9", r"position 6"),
        ("x" * 300_000, r"more than 256 KiB"),
    ],
)
def test_what_is_not_read_is_told_with_its_line(text: str | bytes, said: str) -> None:
    with pytest.raises(YamlProblem, match=said) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)


@given(PLAIN)
def test_json_is_read_as_what_it_says(value: object) -> None:
    assert read_yaml(json.dumps(value, indent=1, ensure_ascii=False)).data == value


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(YamlProblem):
        json.dumps(read_yaml(text).data)
