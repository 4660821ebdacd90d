"""What is vectorised, cached, shared or recomputed against loops over tokens, heads and experts.

Values are compared with `tests/model/naive.py` in float64, gradients with the slope of the same
loops along random directions, which owes nothing to automatic differentiation.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from brainformer.model.block import SubLayerBranch
from brainformer.model.config import ModelConfig
from brainformer.model.decoder import (
    build_model,
    cross_entropy,
    next_token_loss,
    split_parameters,
)
from brainformer.model.generation import cached_logits
from tests.model import naive
from tests.model.models import (
    ATTENTION,
    FEED_FORWARD,
    moe,
    random_tokens,
    small_config,
)

# float32 against float64: sums of up to a few hundred terms, relative to the largest value.
TOLERANCE = 2e-5
# Of a central difference in float64, and of the gradient's own sums in float32.
SLOPE_TOLERANCE = 1e-4
STEP = 1e-6
DIRECTIONS = 3
SHAPES = {"batch_size": 4, "sequence_length": 5, "blocks": 1}
LAYER_NORM = {"norm": "layer_norm", "norm_position": "post"}
LAYERS: dict[str, dict[str, Any]] = {
    "attention": ATTENTION,
    "attention with convolution, layer norm after": {**ATTENTION, "conv_width": 3, **LAYER_NORM},
    "attention in two spans": ATTENTION,
    "dense": {**FEED_FORWARD, "activation": "gelu"},
    "dense gated of low rank, layer norm": {**FEED_FORWARD, "rank": 3, "norm": "layer_norm"},
    "dense squared, norm after": {
        **FEED_FORWARD,
        "activation": "squared_relu",
        "norm_position": "post",
    },
    "expert choice": moe("expert_choice", 2),
    "top 1 with drops": moe("top_1", 0.75, "relu"),
    "top 2 with drops, gated": moe("top_2", 0.75, "gated_gelu"),
    "top 2 dropless, gated": moe("top_2", 0, "gated_relu"),
}

LONG = {"attention in two spans": {"batch_size": 1, "sequence_length": 129, "blocks": 1}}


def by_name(tree: Any) -> dict[str, np.ndarray]:
    """Returns the leaves of a state by their dotted path, in float64."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {name_of(path): np.asarray(leaf, np.float64) for path, leaf in leaves}


def name_of(path: tuple[Any, ...]) -> str:
    parts = [str(getattr(part, "key", getattr(part, "name", part))) for part in path]
    return ".".join(parts).removesuffix(".value")


def shaken(tree: Any, rng: np.random.Generator) -> Any:
    """Returns parameters moved from where they start: scales off 1, convolutions off identity."""
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.normal(0, 0.2, leaf.shape)), tree)


@pytest.mark.parametrize("name", LAYERS)
def test_sub_layer_and_its_gradients_equal_loops(name):
    config = small_config(LAYERS[name], **LONG.get(name, SHAPES))
    batch, tokens = config.batch_size, config.batch_size * config.sequence_length
    layer, rng = config.genome.layers[0], np.random.default_rng(0)
    module = SubLayerBranch(layer, config, rngs=nnx.Rngs(0))
    graph, parameters, rest = nnx.split(module, nnx.Param, ...)
    parameters = shaken(parameters, rng)
    x = rng.normal(size=(tokens, 16)).astype(np.float32)
    looked_at = rng.normal(size=x.shape).astype(np.float32)

    def objective(parameters: Any, x: Any) -> Any:
        out, report = nnx.merge(graph, parameters, rest)(x, batch=batch, training=True)
        auxiliary = 0.0 if report is None else report.load_balance + report.router_z
        return jnp.sum(out * looked_at) + auxiliary, out

    slopes, out = jax.jit(jax.grad(objective, argnums=(0, 1), has_aux=True))(parameters, x)

    def loops(values: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
        shapes = {"batch": batch, "head_dim": config.head_dim, "rope_base": config.rope_base}
        return naive.branch(layer, values, values["x"], training=True, **shapes)

    def scalar(values: dict[str, np.ndarray]) -> float:
        expected, auxiliary = loops(values)
        return float(np.sum(expected * looked_at) + auxiliary)

    values = {**by_name(parameters), "x": x.astype(np.float64)}
    assert_close(out, loops(values)[0])
    gradients = {**by_name(slopes[0]), "x": np.asarray(slopes[1], np.float64)}
    assert gradients.keys() == values.keys()
    for leaf in values:
        assert_slopes(scalar, values, leaf, gradients[leaf], rng)


def assert_close(got: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def assert_slopes(
    scalar: Any,
    values: dict[str, np.ndarray],
    leaf: str,
    gradient: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Compares a gradient with central differences along random directions of one array."""
    for _ in range(DIRECTIONS):
        direction = rng.normal(size=gradient.shape)
        ends = [
            scalar({**values, leaf: values[leaf] + side * STEP * direction}) for side in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * STEP)
        scale = np.linalg.norm(gradient)
        assert abs(np.sum(gradient * direction) - expected) <= SLOPE_TOLERANCE * scale, leaf


def test_logits_through_the_cache_equal_loops():
    layers = (LAYERS["attention with convolution, layer norm after"], moe("expert_choice"))
    config = small_config(*layers, moe("top_2", 1, "gated_gelu"), **SHAPES)
    graph, parameters, routing = split_parameters(build_model(config, key=jax.random.key(0)))
    parameters = shaken(parameters, np.random.default_rng(1))
    tokens = random_tokens(config)
    expected = naive.decoder_logits(
        config, by_name(parameters) | by_name(routing), np.asarray(tokens)
    )

    assert_close(cached_logits(nnx.merge(graph, parameters, routing), tokens), expected)


def test_cross_entropy_and_its_gradient_equal_loops():
    rng = np.random.default_rng(2)
    logits, targets = rng.normal(size=(6, 5)).astype(np.float32) * 3, rng.integers(0, 5, 6)

    def mean(values: dict[str, np.ndarray]) -> float:
        return float(naive.cross_entropy(values["logits"], targets).mean())

    losses, pull_back = jax.vjp(jax.jit(lambda x: cross_entropy(x, targets)), jnp.asarray(logits))
    gradient = pull_back(jnp.full(6, 1 / 6))[0]
    values = {"logits": logits.astype(np.float64)}

    assert_close(losses, naive.cross_entropy(values["logits"], targets))
    assert_slopes(mean, values, "logits", np.asarray(gradient, np.float64), rng)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"scan": True}, {"remat": True}, {"scan": True, "remat": True}], ids=str
)
def test_scanned_and_recomputed_blocks_equal_blocks_written_out(changes):
    shapes = {**SHAPES, "blocks": 2}
    layers = (ATTENTION, moe("expert_choice"))
    values, got = gradients_of(small_config(*layers, **shapes, **changes))

    _, expected = gradients_of(small_config(*layers, **shapes), written_out(values))

    got = written_out(got)
    assert got.keys() == expected.keys()
    for name, gradient in got.items():
        np.testing.assert_allclose(gradient, expected[name], atol=1e-6, err_msg=name)


def gradients_of(
    config: ModelConfig, values: dict[str, np.ndarray] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns parameters by name, and loss, gradients and the cut-offs that the step leaves."""
    graph, parameters, routing = split_parameters(build_model(config, key=jax.random.key(0)))
    if values is not None:
        parameters = jax.tree_util.tree_map_with_path(
            lambda path, _: jnp.asarray(values[name_of(path)], jnp.float32), parameters
        )

    @jax.jit
    def step(parameters: Any) -> Any:
        def loss(parameters: Any) -> Any:
            model = nnx.merge(graph, parameters, routing)
            total, _ = next_token_loss(model, random_tokens(config, extra=1), training=True)
            return total, split_parameters(model)[2]

        return jax.value_and_grad(loss, has_aux=True)(parameters)

    (loss, cutoffs), gradients = step(parameters)
    found = by_name(gradients) | by_name(cutoffs) | {"loss": np.asarray(loss)}
    return by_name(parameters), found


def written_out(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the leaves of scanned blocks under the names that they have one by one."""
    found = {}
    for name, value in values.items():
        if name.startswith("blocks.layers."):
            rest = name.removeprefix("blocks.")
            found |= {f"blocks.{i}.{rest}": leaf for i, leaf in enumerate(value)}
        else:
            found[name] = value
    return found
