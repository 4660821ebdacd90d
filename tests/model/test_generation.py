"""Generation through the cache against the full forward pass."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainformer.model.decoder import build_model
from brainformer.model.generation import cached_logits, generate
from brainformer.search.errors import InvalidGenome
from tests.model.models import (
    ATTENTION,
    FEED_FORWARD,
    moe,
    random_tokens,
    small_config,
)

LAYERS = (
    {**ATTENTION, "conv_width": 3},
    moe("expert_choice"),
    {**FEED_FORWARD, "norm_position": "post"},
    ATTENTION,
    moe("top_2", 1),
)


@pytest.mark.parametrize("scan", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_cached_logits_equal_the_full_forward_pass(scan):
    config = small_config(*LAYERS, scan=scan)
    model = build_model(config, key=jax.random.key(0))
    tokens = random_tokens(config)

    np.testing.assert_allclose(
        cached_logits(model, tokens), model(tokens, training=False)[0], atol=1e-4
    )


@pytest.fixture(scope="module")
def model():
    return build_model(small_config(*LAYERS), key=jax.random.key(0))


@pytest.mark.slow
def test_greedy_tokens_are_the_likeliest_of_the_full_forward_pass(model):
    prompts = random_tokens(model.config)[:2, :4]

    tokens = generate(model, prompts, steps=4)

    assert jnp.array_equal(tokens[:, :4], prompts)
    logits, _ = model(tokens, training=False)
    assert jnp.array_equal(tokens[:, 4:], jnp.argmax(logits[:, 3:-1], axis=-1))


@pytest.mark.slow
def test_padding_and_batch_mates_change_nothing(model):
    prompts = random_tokens(model.config)[:3, :6]
    lengths = jnp.array([2, 6, 4])
    together = generate(model, prompts, steps=3, lengths=lengths)

    alone = generate(model, prompts[:1, :2], steps=7)

    assert jnp.array_equal(together[0], alone[0])


def test_paper_routing_cannot_generate():
    model = build_model(small_config(moe("top_2"), routing="paper"), key=jax.random.key(0))
    with pytest.raises(InvalidGenome, match="causal"):
        generate(model, jnp.zeros((1, 2), jnp.int32), steps=1)
