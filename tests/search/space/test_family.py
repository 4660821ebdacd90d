"""Families of simple blocks: their members, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from brainformer.search.errors import InvalidGenome, InvalidSpec
from brainformer.search.space.family import (
    BaselineFamily,
    default_depths,
    default_heads,
    read_shorthand,
)
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.search.spec import parse_spec, resolve_spec

NANO = load_preset("nano")


def spec(baseline: Any, **changes: Any) -> Any:
    return parse_spec(
        {"name": "f", "space": "nano", "baseline": baseline, "limits": {"trials": 4}} | changes
    )


def test_members_are_cut_from_the_first_sub_layer_and_lie_in_the_space() -> None:
    members = BaselineFamily(family="glam", depths=(2, 4), model_dims=(32, 64)).genomes(NANO)
    assert [(one.model_dim, len(one.layers)) for one in members] == [
        (32, 2), (64, 2), (32, 4), (64, 4),
    ]  # fmt: skip
    for member in members:
        assert NANO.objection(member) is None
        whole = BaselineFamily(family="glam", model_dims=(member.model_dim,)).genomes(NANO)[-1]
        assert whole.layers[: len(member.layers)] == member.layers


def test_widths_grow_with_the_model_dim() -> None:
    narrow, wide = BaselineFamily(family="glam", depths=(4,), model_dims=(32, 96)).genomes(NANO)
    for thin, thick in zip(narrow.layers, wide.layers, strict=True):
        assert thin.kind == thick.kind
        for name in ("hidden_dim", "heads"):
            if hasattr(thin, name):
                assert getattr(thin, name) <= getattr(thick, name)


def test_a_genome_is_a_family_too() -> None:
    block = zoo_genome("glam", NANO)
    members = BaselineFamily(family=block, depths=(3,), model_dims=(block.model_dim,)).genomes(NANO)
    assert members == [block.model_copy(update={"layers": block.layers[:3]})]


@pytest.mark.parametrize(
    ("length", "depths"), [(8, (8, 4, 2, 1)), (12, (12, 6, 3)), (5, (5,)), (1, (1,))]
)
def test_default_depths_are_the_blocks_and_its_halves(length: int, depths: tuple[int, ...]) -> None:
    space = NANO.model_copy(update={"min_layers": 1, "max_layers": 12})
    assert default_depths(length, space) == depths


def test_the_shorthand_and_the_mapping_are_one() -> None:
    assert spec("glam*").baseline == spec({"family": "glam"}).baseline
    assert read_shorthand("glam") == "glam"


def test_a_family_may_have_several_blocks_whose_members_are_told_apart() -> None:
    cut = {"depths": [2, 4], "model_dims": [48], "heads": [1]}
    both = spec({"family": "glam", "also": ["dense_transformer"], **cut})
    labels = [rival.label for rival in resolve_spec(both).rivals]
    assert labels == [
        "glam, 2 sub-layers, d=48",  # which the dense Transformer begins with, too
        "glam, 4 sub-layers, d=48",
        "dense_transformer, 4 sub-layers, d=48",
    ]
    alone = resolve_spec(spec({"family": "glam", **cut})).rivals
    assert [one.genome for one in resolve_spec(both).rivals[:2]] == [one.genome for one in alone]
    assert [one.label for one in alone] == ["2 sub-layers, d=48", "4 sub-layers, d=48"]


def test_attention_as_wide_as_the_zoos_is_tried_under_a_proxy_with_narrow_heads() -> None:
    # Twelve heads of 64 channels for a model dim of 768: four of 16 for one of 64.
    made = spec({"family": "glam", "depths": [4], "model_dims": [64]})
    thin, wide = resolve_spec(made).rivals
    assert (thin.genome.layers[0].heads, wide.genome.layers[0].heads) == (1, 4)
    assert wide.genome.layers[1::2] == thin.genome.layers[1::2]
    assert [thin.label, wide.label] == ["4 sub-layers, d=64", "4 sub-layers, d=64, heads x4"]
    assert made.proxy.head_dim * wide.genome.layers[0].heads == wide.genome.model_dim


def test_heads_as_wide_as_the_zoos_are_tried_as_they_are_and_so_are_those_of_a_genome() -> None:
    assert default_heads("glam", 64) == default_heads("glam", 128) == (1.0,)
    assert default_heads(zoo_genome("glam", NANO), 16) == (1.0,)


def test_multiples_of_heads_that_come_to_the_same_are_one_member() -> None:
    made = spec({"family": "glam", "depths": [2], "model_dims": [64], "heads": [1, 3, 4, 64]})
    assert [one.genome.layers[0].heads for one in resolve_spec(made).rivals] == [1, 3, 4]


def test_a_family_of_one_block_is_written_as_before() -> None:
    assert "also" not in spec("glam*").model_dump_json()


def test_every_learning_rate_makes_a_rival_of_its_own() -> None:
    cut = {"depths": [2], "model_dims": [32], "heads": [1]}
    made = spec({"family": "glam", **cut, "learning_rates": [0.5, 1, 2]})
    rivals = resolve_spec(made).rivals
    assert len({one.genome.digest for one in rivals}) == 1
    rates = [(one.proxy or made.proxy).peak_learning_rate for one in rivals]
    assert [rate / made.proxy.peak_learning_rate for rate in rates] == [0.5, 1, 2]


@pytest.mark.parametrize(
    ("family", "where", "words"),
    [
        ({"family": "nobody"}, "/baseline/family", "no zoo genome nobody; known: "),
        ({"family": ""}, "/baseline/family", "no zoo genome ; known: "),
        ({"family": "glam", "also": ["glam", "none"]}, "/baseline/also/1", "no zoo genome none"),
        ({"family": "glam", "depths": [64]}, "/baseline", "depth 64 is above the block's"),
        ({"family": "glam", "model_dims": [7]}, "/baseline", "no member of the family lies in"),
    ],
)
def test_a_family_without_a_member_is_refused_where_it_stands(
    family: dict[str, Any], where: str, words: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        resolve_spec(spec(family))
    assert refused.value.pointer == where
    assert words in refused.value.message


def test_a_family_outside_its_space_says_why() -> None:
    with pytest.raises(InvalidGenome, match="model_dim 7"):
        BaselineFamily(family="glam", depths=(2,), model_dims=(7,)).genomes(NANO)
