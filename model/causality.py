"""Tests that logits at t depend on tokens <= t of the same row only.

Four tests, since none is enough alone:

| test                | what it compares                             | blind to              |
| ------------------- | -------------------------------------------- | --------------------- |
| prefix invariance   | logits before and after later tokens change  | leaks below floats    |
| row independence    | a row alone and the row in its batch         | leaks inside a row    |
| random-token canary | loss after training on noise, and ln V       | leaks it did not use  |
| rule gap            | loss under the training and the causal rule  | rules that leak alike |

The search would find a leak: expert choice over a short sequence gains 0.08 nats a token from
noise, more than what good blocks differ by. Every trial runs `probe`, the first of the four.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import (
    Decoder,
    build_model,
    next_token_loss,
    split_parameters,
)

PROBE_ROWS = 4
PROBE_LENGTH = 64
# float32 sums in another order differ by about 1e-6 of the logits' size; a leak moves a routed
# token by its whole expert output.
TOLERANCE = 1e-3
CANARY_MARGIN = 1e-3
GAP_LIMIT = 0.01

Forward = Callable[[Array], Array]


@dataclass(frozen=True)
class ProbeReport:
    """Whether earlier logits moved when later tokens changed.

    Attributes:
        causal: No logit before a change moved beyond the tolerance.
        deviation: The largest move met, in units of the logits' standard deviation.
        prefix_length: Where that was: the tokens that both inputs share.
        prefix_lengths: All that were tried.
    """

    causal: bool
    deviation: float
    prefix_length: int
    prefix_lengths: tuple[int, ...]

    def __str__(self) -> str:
        verdict = "causal" if self.causal else "leaks the future"
        return (
            f"{verdict}: logits of the first {self.prefix_length} tokens moved by "
            f"{self.deviation:.2g} of their spread when later tokens changed"
        )


def probe(
    model: Decoder,
    *,
    key: Array,
    prefix_lengths: Sequence[int] | None = None,
    batch_size: int = PROBE_ROWS,
    training: bool = False,
    forward: Forward | None = None,
) -> ProbeReport:
    """Returns whether logits of a prefix stay the same when what follows changes.

    Computes in float32, at one shape, so that nothing but routing can differ. A move that a
    second draw of tokens does not show is a score that lay on its cut-off to the last bit, not a
    leak.

    Args:
        model: Initialised or trained.
        key: Draws tokens.
        prefix_lengths: Default: one token, a third, two thirds and all but one.
        batch_size: Rows compared; all change their later tokens.
        training: Whether to test the training rule, which may compare rows, but not look ahead.
        forward: Tokens to logits, where `forward_function` alone will not do: on a mesh.
    """
    length = min(PROBE_LENGTH, model.config.sequence_length)
    lengths = tuple(prefix_lengths or sorted({1, length // 3 or 1, 2 * length // 3, length - 1}))
    forward = forward or forward_function(model, training=training)
    keys = jax.random.split(key, 2)
    first = _prefix_deviations(forward, model.config, lengths, batch_size, length, keys[0])
    worst = max(first, key=first.__getitem__)
    deviation = first[worst]
    if deviation > TOLERANCE:
        second = _prefix_deviations(forward, model.config, lengths, batch_size, length, keys[1])
        worst = max(second, key=second.__getitem__)
        deviation = min(deviation, second[worst])
    return ProbeReport(deviation <= TOLERANCE, deviation, worst, lengths)


def row_deviation(model: Decoder, tokens: Int[Array, "B S"]) -> float:
    """Returns the largest move of a row's logits between alone and in its batch, in their spread.

    A single score on its cut-off may flip between shapes, so the median over rows counts.
    """
    forward = forward_function(model, training=False)
    together = forward(tokens)
    rows = [
        jnp.max(jnp.abs(forward(tokens[i : i + 1])[0] - together[i])) for i in range(len(tokens))
    ]
    return float(jnp.median(jnp.stack(rows)) / _spread(together))


def rule_gap(model: Decoder, tokens: Int[Array, "B S+1"]) -> float:
    """Returns the loss under the training rule minus the loss under the causal rule, in nats.

    Far below 0, the training rule knows what evaluation must not know. A model of
    `routing: paper` trains by the paper's rule.
    """
    trained = _loss_function(model, training=True)(tokens)
    causal = _loss_function(with_config(model, routing="causal"), training=False)(tokens)
    return float(trained - causal)


def noise_gain(model: Decoder, *, key: Array, batches: int = 64) -> float:
    """Returns ln V - loss on uniform random tokens, in nats: what was learned from nothing.

    Above `CANARY_MARGIN`, a model that was trained on noise sees what it predicts. The loss is
    taken under the rule of evaluation.
    """
    config = model.config
    graph, state = nnx.split(model)

    @jax.jit
    def mean_loss(state: Any, keys: Array) -> Array:
        def one(key: Array) -> Array:
            tokens = _noise(config, key)
            report = next_token_loss(nnx.merge(graph, state), tokens, training=False)[1]
            return jnp.asarray(report.cross_entropy)

        return jnp.asarray(jax.lax.map(one, keys).mean())

    return math.log(config.vocab_size) - float(mean_loss(state, jax.random.split(key, batches)))


def train_on_noise(
    config: ModelConfig, *, key: Array, steps: int = 200, learning_rate: float = 1e-2
) -> Decoder:
    """Returns a model trained on uniform random tokens, fresh at every step.

    Nothing can be remembered or predicted, so whatever it learns is a leak.
    """
    start, draw = jax.random.split(key)
    graph, initial, routing = split_parameters(build_model(config, key=start))

    def step(state: tuple[Any, Any, Any], number: Array) -> tuple[tuple[Any, Any, Any], None]:
        parameters, moments, routing = state

        def loss(parameters: Any) -> tuple[Array, Any]:
            model = nnx.merge(graph, parameters, routing)
            tokens = _noise(config, jax.random.fold_in(draw, number))
            total, _ = next_token_loss(model, tokens, training=True)
            return total, split_parameters(model)[2]

        gradients, routing = jax.grad(loss, has_aux=True)(parameters)
        # RMSProp by hand: model/ carries no optimiser library.
        decay = jnp.minimum(0.99, number / (number + 1.0))
        moments = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g * g, moments, gradients)
        rate = learning_rate * jnp.minimum(1.0, (number + 1) / 20) * (1 - number / steps)
        parameters = jax.tree.map(
            lambda p, g, m: p - rate * g / (jnp.sqrt(m) + 1e-8), parameters, gradients, moments
        )
        return (parameters, moments, routing), None

    @jax.jit
    def train(parameters: Any, routing: Any) -> tuple[Any, Any]:
        moments = jax.tree.map(jnp.zeros_like, parameters)
        start = (parameters, moments, routing)
        (parameters, _, routing), _ = jax.lax.scan(step, start, jnp.arange(steps))
        return parameters, routing

    trained: Decoder = nnx.merge(graph, *train(initial, routing))
    return trained


def _noise(config: ModelConfig, key: Array) -> Int[Array, "B S+1"]:
    shape = (config.batch_size, config.sequence_length + 1)
    return jax.random.randint(key, shape, 0, config.vocab_size)


def forward_function(model: Decoder, *, training: bool) -> Forward:
    """Returns a compiled function from tokens to logits, in float32 throughout."""
    graph, state = nnx.split(with_config(model, compute_dtype="float32"))

    @jax.jit
    def forward(state: Any, tokens: Array) -> Array:
        return nnx.merge(graph, state)(tokens, training=training)[0]

    return lambda tokens: forward(state, tokens)


def with_config(model: Decoder, **changes: Any) -> Decoder:
    """Returns a model of the same variables under a changed config (dtype or routing)."""
    config = dataclasses.replace(model.config, **changes)
    if config == model.config:
        return model
    abstract = nnx.eval_shape(lambda: build_model(config, key=jax.random.key(0)))
    changed: Decoder = nnx.merge(nnx.graphdef(abstract), nnx.state(model))
    return changed


def _loss_function(model: Decoder, *, training: bool) -> Forward:
    graph, state = nnx.split(model)

    @jax.jit
    def loss(state: Any, tokens: Array) -> Array:
        report = next_token_loss(nnx.merge(graph, state), tokens, training=training)[1]
        return jnp.asarray(report.cross_entropy)

    return lambda tokens: loss(state, tokens)


def _prefix_deviations(
    forward: Forward,
    config: ModelConfig,
    lengths: Sequence[int],
    batch_size: int,
    length: int,
    key: Array,
) -> dict[int, float]:
    """Returns, per prefix length, the largest move of its logits over their spread."""
    first, other = jax.random.split(key)
    tokens = jax.random.randint(first, (batch_size, length), 0, config.vocab_size)
    shift = jax.random.randint(other, tokens.shape, 1, config.vocab_size)
    changed = (tokens + shift) % config.vocab_size  # every token differs
    logits = forward(tokens)
    spread = _spread(logits)
    moves = {}
    for prefix in lengths:
        later = jnp.arange(length) >= prefix
        moved = forward(jnp.where(later, changed, tokens)) - logits
        moves[prefix] = float(jnp.max(jnp.abs(moved[:, :prefix])) / spread)
    return moves


def _spread(logits: Array) -> Array:
    return jnp.std(logits) + 1e-12
