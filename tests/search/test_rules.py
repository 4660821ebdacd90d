"""Broken rules in words: none of pydantic's own vocabulary reaches a caller."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainformer.search.proxy.proxy import NAME_PATTERN
from brainformer.search.rules import causes, rule_of
from brainformer.search.space.genome import Genome


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)

    name: Annotated[str, Field(pattern=NAME_PATTERN)] = "a"
    note: Annotated[str, Field(max_length=3)] = ""
    width: Annotated[int, Field(ge=1, le=8)] = 1
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    kinds: Annotated[tuple[Literal["a", "b", "c"], ...], Field(min_length=1, max_length=2)] = ("a",)
    ready: bool = True


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("width", 0, "must be at least 1"),
        ("width", 9, "must be at most 8"),
        ("width", "wide", "must be a whole number"),
        ("width", 1.5, "must be a whole number"),
        ("rate", 0, "must be greater than 0"),
        ("rate", "fast", "must be a number"),
        ("rate", float("inf"), "must be a finite number"),
        ("kinds", [], "must have at least 1 entry"),
        ("kinds", ["a", "b", "c"], "must have at most 2 entries"),
        ("kinds", ["d"], "must be 'a', 'b' or 'c'"),
        ("kinds", 3, "must be a list"),
        ("note", "long", "must have at most 3 characters"),
        ("note", 3, "must be text"),
        ("ready", "perhaps", "must be true or false"),
        ("colour", "red", "there is no such field"),
        (
            "name",
            "[b]",
            "must have 1 to 64 lower-case letters, digits, '.', '_' or '-', and begin with a "
            "letter or digit",
        ),
    ],
)
def test_rule_is_told_in_words(field, value, rule):
    assert rules_of(Shape, {field: value}) == [rule]


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        (
            {"kind": "atention"},
            "must have a kind that is 'attention', 'feed_forward' or 'moe', not 'atention'",
        ),
        ({"heads": 4}, "must have the field kind"),
        ({"kind": "attention"}, "is required"),
        ("attention", "must be a mapping of fields"),
    ],
)
def test_what_is_wrong_with_a_sub_layer_is_told_in_words(layer, rule):
    assert rules_of(Genome, {"model_dim": 64, "layers": [layer]})[0] == rule


def test_a_rule_that_was_worded_elsewhere_stays_as_it_is():
    told = {"loc": ("field", "/a"), "msg": "there is no such field; did you mean 'b'?"}
    assert rule_of({**told, "type": "extra_forbidden"}) == told["msg"]


def rules_of(model, data):
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return [rule_of(item) for item in causes(caught.value.errors(include_url=False))]
