"""Genomes whose shapes cannot work are refused with the field, its value and the rule."""

from __future__ import annotations

import pytest

from brainformer.model.config import ModelConfig
from brainformer.search.errors import InvalidGenome
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import parse_genome
from tests.model.models import ATTENTION, FEED_FORWARD, moe


def config_of(layer, **shapes):
    genome = parse_genome({"model_dim": 16, "layers": [ATTENTION, layer]})
    return ModelConfig.of_proxy(genome, Proxy(**shapes), platform="cpu")


@pytest.mark.parametrize(
    ("layer", "shapes", "field", "value", "rule"),
    [
        ({**FEED_FORWARD, "rank": 17}, {}, "rank", "17", "at most min(model_dim, hidden_dim) = 16"),
        (
            {**FEED_FORWARD, "hidden_dim": 8, "rank": 9},
            {},
            "rank",
            "9",
            "at most min(model_dim, hidden_dim) = 8",
        ),
        ({**ATTENTION, "heads": 0}, {}, "heads", "0", "at least 1"),
        ({**ATTENTION, "heads": 1025}, {}, "heads", "1025", "at most 1024"),
        (
            {**ATTENTION, "heads": 513},
            {"head_dim": 128},
            "heads",
            "513",
            "heads x head_dim (128) must be at most 65536",
        ),
        (
            {**ATTENTION, "conv_width": 9},
            {"sequence_length": 8},
            "conv_width",
            "9",
            "at most sequence_length (8)",
        ),
        (
            moe("top_1"),
            {"experts": 33, "batch_size": 4, "sequence_length": 8},
            "experts",
            "33",
            "at most the tokens of a step, batch x sequence (32)",
        ),
        (
            moe("expert_choice"),
            {"experts": 8, "batch_size": 4},
            "capacity_factor",
            "1",
            "capacity_factor x batch_size (4) / experts (8) must be at least 1",
        ),
        (moe("expert_choice", 9), {"experts": 8}, "capacity_factor", "9", "at most experts (8)"),
        (moe("expert_choice", 0), {}, "capacity_factor", "0", "above 0 under expert_choice"),
        (moe("top_2"), {"experts": 1}, "gating", "1", "at least 2 experts"),
    ],
)
def test_shapes_that_cannot_work_name_field_value_and_rule(layer, shapes, field, value, rule):
    with pytest.raises(InvalidGenome) as caught:
        config_of(layer, **shapes)

    message = caught.value.message
    assert f"layers/1/{field}" in message.replace(".", "/"), message
    assert f"got {value}" in message, message
    assert rule in message, message


def test_genome_that_can_work_becomes_a_config():
    assert config_of({**FEED_FORWARD, "rank": 16}).genome.layers[1].rank == 16
