import json

import pytest

from brainformer.api.gate.strict_json import parse_json


@pytest.mark.parametrize(
    "text",
    ["NaN", "[Infinity]", '{"a": -Infinity}', '"\\u0000"', "[" * 40 + "]" * 40, "[" * 100_000,
     "", "{", '"\\ud800"', "\xff"],
)  # fmt: skip
def test_what_is_not_strict_is_refused(text):
    with pytest.raises(json.JSONDecodeError):
        parse_json(text.encode("latin-1"), max_depth=32)


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "é"]}, [], "x", 3])
def test_plain_json_passes(value):
    assert parse_json(json.dumps(value).encode(), max_depth=32) == value


def test_depth_counts_containers():
    assert parse_json(b"[" * 8 + b"]" * 8, max_depth=8)
    with pytest.raises(json.JSONDecodeError, match="deeper"):
        parse_json(b"[" * 9 + b"]" * 9, max_depth=8)
