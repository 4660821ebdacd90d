"""Every genome of the zoo trains, and its loss falls."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import build_model, next_token_loss, split_parameters
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome, zoo_names

STEPS = 12
PROXY = load_proxy("nano").model_copy(
    update={"blocks": 1, "sequence_length": 16, "vocab_size": 32, "batch_size": 8}
)


def losses_of(config: ModelConfig) -> list[float]:
    """Returns the cross-entropy of each step of plain gradient descent on one repeated text."""
    graph, parameters, routing = split_parameters(build_model(config, key=jax.random.key(0)))
    text = np.resize(np.arange(7), config.sequence_length + 1)
    tokens = np.tile(text, (config.batch_size, 1)).astype(np.int32)

    @jax.jit
    def step(parameters, routing):
        def loss(parameters):
            model = nnx.merge(graph, parameters, routing)
            total, report = next_token_loss(model, tokens, training=True)
            return total, (report.cross_entropy, split_parameters(model)[2])

        gradients, (value, routing) = jax.grad(loss, has_aux=True)(parameters)
        moved = jax.tree.map(lambda p, g: p - 0.05 * g, parameters, gradients)
        return moved, routing, value

    losses = []
    for _ in range(STEPS):
        parameters, routing, value = step(parameters, routing)
        losses.append(float(value))
    return losses


@pytest.mark.parametrize("name", zoo_names())
def test_zoo_genome_trains(name):
    genome = zoo_genome(name, load_preset("nano"))

    losses = losses_of(ModelConfig.of_proxy(genome, PROXY, platform="cpu"))

    assert losses[-1] < losses[0] - 0.1, losses


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glam", "brainformer_1_approximation"])
def test_zoo_genome_trains_in_bfloat16(name):
    genome = zoo_genome(name, load_preset("nano"))
    half = PROXY.model_copy(update={"precision": "bfloat16"})

    config = ModelConfig.of_proxy(genome, half, platform="cpu")
    model = build_model(config, key=jax.random.key(0))
    losses = losses_of(config)

    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    full = losses_of(ModelConfig.of_proxy(genome, PROXY, platform="cpu"))
    assert losses[0] == pytest.approx(full[0], abs=0.02)
    assert losses[-1] < losses[0] - 0.1, losses
