"""Scaling blocks that were found small."""

from __future__ import annotations

import pytest

from brainformer.search.cost.cost import activated_parameters
from brainformer.search.cost.scaling import CompoundScale, ScaleModelDim, StackNTimes
from brainformer.search.errors import InvalidGenome, InvalidSpec
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import parse_genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome

GENOME = parse_genome(
    {
        "model_dim": 64,
        "layers": [
            {"kind": "attention", "heads": 4},
            {"kind": "feed_forward", "hidden_dim": 96, "activation": "gelu", "rank": 48},
            {"kind": "moe", "hidden_dim": 128, "activation": "gelu", "gating": "top_2"},
        ],
    }
)


def test_model_dim_scales_every_width_and_keeps_the_rest():
    wide = ScaleModelDim(2)(GENOME)

    assert wide.model_dim == 128
    assert wide.layers[0].heads == 8
    assert (wide.layers[1].hidden_dim, wide.layers[1].rank) == (192, 96)
    assert wide.layers[2].hidden_dim == 256
    assert wide.layers[2].gating == "top_2"


def test_scaled_genome_is_as_valid_as_one_that_was_parsed():
    wide = ScaleModelDim(4)(GENOME)

    assert parse_genome(wide.canonical_json()) == wide


@pytest.mark.parametrize("factor", [0, -1, float("nan"), 10_000])
def test_impossible_factor_is_refused(factor):
    with pytest.raises(InvalidGenome):
        ScaleModelDim(factor)(GENOME)


@pytest.mark.parametrize("blocks", [1, 3, 17])
def test_stacking_finds_the_number_of_blocks_again(blocks):
    proxy = Proxy(blocks=blocks)
    target = activated_parameters(GENOME, proxy)

    assert StackNTimes(target)(GENOME, Proxy()).blocks == blocks


def test_stacking_needs_at_least_one_block_and_refuses_hundreds():
    assert StackNTimes(1)(GENOME, Proxy()).blocks == 1
    with pytest.raises(InvalidSpec, match="scale wider"):
        StackNTimes(10**12)(GENOME, Proxy())
    with pytest.raises(InvalidSpec):
        StackNTimes(0)(GENOME, Proxy())


def test_glam_doubled_and_stacked_reaches_the_next_scale_of_the_paper():
    glam = ScaleModelDim(2)(zoo_genome("glam", load_preset("brainformer-100m32e")))
    proxy = StackNTimes(1_700_000_000)(glam, Proxy(experts=64))

    assert abs(activated_parameters(glam, proxy) / 1.7e9 - 1) < 0.1


def test_compound_scaling_about_doubles_the_activated_parameters():
    wide, deep = CompoundScale(1)(GENOME, Proxy(blocks=5))

    ratio = activated_parameters(wide, deep) / activated_parameters(GENOME, Proxy(blocks=5))
    assert 1.7 < ratio < 2.3
