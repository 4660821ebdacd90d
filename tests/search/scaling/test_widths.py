"""Wider blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.errors import InvalidGenome
from brainformer.search.scaling.widths import ScaleModelDim, friendly
from brainformer.search.space.genome import parse_genome

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


@pytest.mark.parametrize(
    ("width", "nearest"),
    [(1.2, 1), (19, 20), (36, 36), (97, 96), (768, 768), (1000, 1024), (2048, 2048), (5461, 5504)],
)
def test_widths_are_multiples_that_devices_like(width, nearest):
    assert friendly(width) == nearest


def test_heads_grow_less_where_each_of_them_is_wider():
    wide = ScaleModelDim(4, head_growth=2)(GENOME)

    assert (wide.model_dim, wide.layers[0].heads) == (256, 8)


@given(st.floats(1, 60_000))
def test_a_width_departs_from_its_factor_by_a_sixteenth_at_most(width):
    assert abs(friendly(width) / width - 1) <= (1 / 16 if width >= 8 else 0.5)
