"""Training length and edges of a space."""

from __future__ import annotations

import pytest

from brainformer.search.cost.cost import activated_parameters
from brainformer.search.estimates.soundness import edges, expected_tokens, tokens_per_parameter
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.genome import parse_genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome

NANO = load_preset("nano")
PROXY = load_proxy("nano")


def genome(dim: int, *layers: dict[str, object]):
    return parse_genome({"model_dim": dim, "layers": list(layers)})


ATTENTION = {"kind": "attention", "heads": 2}
DENSE = {"kind": "feed_forward", "hidden_dim": 128, "activation": "gelu"}


def test_tokens_are_steps_times_a_batch() -> None:
    proxy = PROXY.model_copy(update={"budget_seconds": 3.0, "batch_size": 4, "sequence_length": 32})
    assert expected_tokens(proxy, 6.0) == pytest.approx(500 * 4 * 32)


def test_embeddings_are_no_parameters_that_tokens_are_held_against() -> None:
    block = zoo_genome("glam", NANO)
    count = activated_parameters(block, PROXY)
    assert tokens_per_parameter(10 * count, block, PROXY) == pytest.approx(10)
    wider = PROXY.model_copy(update={"vocab_size": 50_000})
    assert tokens_per_parameter(10 * count, block, wider) == pytest.approx(10)


def test_a_block_inside_its_space_has_no_edges() -> None:
    assert edges(genome(48, ATTENTION, DENSE, ATTENTION), NANO) == []


def test_each_edge_is_named_with_its_end() -> None:
    wide = genome(96, ATTENTION, {**DENSE, "hidden_dim": 256})
    assert edges(wide, NANO) == [
        "model dim 96 is the largest choice",
        "number of sub-layers 2 is the smallest choice",
        "feed forward hidden dim 256 is the largest choice",
    ]


def test_sub_layers_that_differ_are_on_no_edge() -> None:
    mixed = genome(48, {**ATTENTION, "heads": 1}, DENSE, {**ATTENTION, "heads": 4})
    assert edges(mixed, NANO) == []
    same = genome(48, {**ATTENTION, "heads": 1}, DENSE, {**ATTENTION, "heads": 1})
    assert edges(same, NANO) == ["attention heads 1 is the smallest choice"]


def test_a_field_without_a_choice_or_with_two_has_no_edge() -> None:
    narrow = NANO.model_copy(update={"model_dim": (32, 48), "min_layers": 3, "max_layers": 3})
    assert edges(genome(48, ATTENTION, DENSE, ATTENTION), narrow) == []
