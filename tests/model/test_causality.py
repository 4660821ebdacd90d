"""The four tests of causality: random genomes pass, a leaky rule fails all but its blind spot."""

from __future__ import annotations

import jax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainformer.model.causality import (
    CANARY_MARGIN,
    GAP_LIMIT,
    TOLERANCE,
    noise_gain,
    probe,
    row_deviation,
    rule_gap,
    train_on_noise,
)
from brainformer.model.decoder import build_model
from tests.model.models import (
    ATTENTION,
    FEED_FORWARD,
    moe,
    random_tokens,
    small_config,
)

LEAKY = small_config(
    ATTENTION,
    moe("expert_choice", 2),
    moe("expert_choice", 2),
    routing="paper",
    sequence_length=8,
    batch_size=32,
    experts=8,
    blocks=1,
)

activations = st.sampled_from(["relu", "gelu", "gated_relu", "gated_gelu", "squared_relu"])
layers = st.one_of(
    st.just(ATTENTION),
    st.just({**ATTENTION, "conv_width": 3}),
    st.just(FEED_FORWARD),
    st.just({**FEED_FORWARD, "rank": 4, "norm_position": "post"}),
    st.builds(moe, st.sampled_from(["top_1", "top_2"]), st.sampled_from([0, 1, 1.25]), activations),
    st.builds(moe, st.just("expert_choice"), st.sampled_from([1, 2]), activations),
)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(layers, min_size=1, max_size=4), st.integers(0, 100))
def test_no_random_genome_sees_later_tokens_or_other_rows(genome, seed):
    config = small_config(ATTENTION, *genome, blocks=1)
    model = build_model(config, key=jax.random.key(seed))

    assert probe(model, key=jax.random.key(1)).causal
    assert probe(model, key=jax.random.key(1), batch_size=8, training=True).causal
    assert row_deviation(model, random_tokens(config)[:3]) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("gating", ["expert_choice", "top_2"])
def test_causal_rules_learn_nothing_from_noise(gating):
    config = small_config(
        ATTENTION, moe(gating, 2), sequence_length=8, batch_size=32, experts=8, blocks=1
    )
    model = train_on_noise(config, key=jax.random.key(0), steps=150)

    assert noise_gain(model, key=jax.random.key(1)) <= CANARY_MARGIN
    assert probe(model, key=jax.random.key(2)).causal
    assert abs(rule_gap(model, random_tokens(config, extra=1))) < GAP_LIMIT


@pytest.fixture(scope="module")
def leaky_model():
    return train_on_noise(LEAKY, key=jax.random.key(0), steps=400)


def test_prefix_test_catches_the_leaky_genome(leaky_model):
    report = probe(leaky_model, key=jax.random.key(1))

    assert not report.causal
    assert "leaks the future" in str(report)


def test_prefix_test_catches_the_leaky_genome_before_training():
    assert not probe(build_model(LEAKY, key=jax.random.key(0)), key=jax.random.key(1)).causal


@pytest.mark.slow
def test_row_test_is_blind_to_a_leak_inside_the_row(leaky_model):
    assert row_deviation(leaky_model, random_tokens(LEAKY)[:3]) < TOLERANCE


def test_canary_catches_the_leaky_genome(leaky_model):
    assert noise_gain(leaky_model, key=jax.random.key(1)) > 5 * CANARY_MARGIN


@pytest.mark.slow
def test_gap_between_rules_catches_the_leaky_genome(leaky_model):
    assert rule_gap(leaky_model, random_tokens(LEAKY, extra=1)) < -GAP_LIMIT
