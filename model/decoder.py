"""The decoder: embedding, the block stacked, and next-token loss.

Activations are (tokens, model dim), tokens in row-major order of (batch, position): on CPU the
same layer in three dimensions takes three times as long.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from brainformer.model.block import Block, RoutingTotals
from brainformer.model.config import ModelConfig
from brainformer.model.experts.routing import RoutingReport, RoutingState
from brainformer.model.initial import normal
from brainformer.model.norms import make_norm
from brainformer.model.surroundings import platform

State = Any  # flax's generic state: a tree of variables

EMBEDDING_SCALE = 1.0


class LossReport(NamedTuple):
    """The parts of one loss; routing figures are means over the MoE sub-layers.

    Attributes:
        cross_entropy: Mean next-token loss, nats a token.
        load_balance: 1 is balanced; 0 without token choice.
        router_z: Mean squared log-partition.
        drop_fraction: Choices dropped, or tokens that no expert chose.
        experts_per_token: Experts that compute a token; 0 without MoE.
        expert_load: Share of computed tokens per expert; sums to 1, or zeros without MoE.
    """

    cross_entropy: Float[Array, ""]
    load_balance: Float[Array, ""]
    router_z: Float[Array, ""]
    drop_fraction: Float[Array, ""]
    experts_per_token: Float[Array, ""]
    expert_load: Float[Array, " E"]


class Evaluation(NamedTuple):
    """What a batch looks like under the causal rule; routing figures are means over MoE sub-layers.

    Attributes:
        losses: Of each token but the first, in nats.
        drop_fraction: Choices dropped, or tokens that no expert computes; 0 without MoE.
        experts_per_token: Experts that compute a token; 0 without MoE.
    """

    losses: Float[Array, "B S"]
    drop_fraction: Float[Array, ""]
    experts_per_token: Float[Array, ""]


class Decoder(nnx.Module):
    """A decoder-only language model of one block stacked `config.blocks` times.

    Unrolled, `blocks` is a list; scanned, one Block whose variables carry a leading axis.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        dim = config.genome.model_dim
        self.config = config
        self.blocks: Any
        self.embedding = nnx.Param(normal(rngs, (config.vocab_size, dim), scale=EMBEDDING_SCALE))
        if config.scan:
            keys = jax.random.split(rngs.params(), config.blocks)
            self.blocks = nnx.vmap(lambda key: Block(config, rngs=nnx.Rngs(params=key)))(keys)
        else:
            self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.blocks)])
        self.norm = make_norm("rms_norm", dim)
        # Small, so that training starts from an almost uniform prediction.
        unembedding = normal(rngs, (dim, config.vocab_size), scale=0.1 * dim**-0.5)
        self.unembedding = nnx.Param(unembedding)

    def __call__(
        self, tokens: Int[Array, "B S"], *, training: bool
    ) -> tuple[Float[Array, "B S V"], RoutingTotals]:
        """Returns next-token logits in float32, and the routing totals.

        Args:
            tokens: Token ids.
            training: Whether MoE sub-layers follow their training rule (and update their running
                cut-offs) or the causal rule of evaluation and export.
        """
        batch, length = tokens.shape
        logits, totals = self.flat_logits(tokens, training=training)
        return logits.reshape(batch, length, -1), totals

    def flat_logits(
        self, tokens: Int[Array, "B S"], *, training: bool
    ) -> tuple[Float[Array, "T V"], RoutingTotals]:
        """Returns logits of all tokens in row-major order, and the routing totals."""
        x, totals = self._stack(self.embed(tokens), batch=tokens.shape[0], training=training)
        return self.unembed(x), totals

    def embed(self, tokens: Int[Array, "B S"]) -> Float[Array, "T d"]:
        """Returns the first block's residual stream, tokens in row-major order."""
        dtype = jnp.dtype(self.config.compute_dtype)
        return self.embedding[...][tokens.reshape(-1)].astype(dtype)

    def unembed(self, x: Float[Array, "T d"]) -> Float[Array, "T V"]:
        """Returns logits in float32 of the last block's residual stream."""
        x = self.norm(x)
        return logits_of(x, self.unembedding[...].astype(x.dtype))

    def _stack(
        self, x: Float[Array, "T d"], *, batch: int, training: bool
    ) -> tuple[Float[Array, "T d"], RoutingTotals]:
        if self.config.scan:
            return self._scan(x, batch=batch, training=training)
        totals = RoutingTotals.zero(self.config.experts)
        for index, block in enumerate(self.blocks):
            if self.config.remat:
                x, part, self.blocks[index] = _remat(block, x, batch=batch, training=training)
            else:
                x, part = block(x, batch=batch, training=training)
            totals = totals.add(part)
        return x, totals

    def _scan(
        self, x: Float[Array, "T d"], *, batch: int, training: bool
    ) -> tuple[Float[Array, "T d"], RoutingTotals]:
        graphdef, routing, rest = _split_routing(self.blocks)

        def body(x: Array, states: tuple[State, State]) -> tuple[Array, Any]:
            block = nnx.merge(graphdef, *states)
            x, part = block(x, batch=batch, training=training)
            return x, (nnx.state(block, RoutingState), part)

        if self.config.remat:
            body = jax.checkpoint(body)
        x, (routing, parts) = jax.lax.scan(body, x, (routing, rest))
        self.blocks = nnx.merge(graphdef, routing, rest)
        return x, jax.tree.map(lambda part: part.sum(axis=0), parts)


def _remat(
    block: Block, x: Float[Array, "T d"], *, batch: int, training: bool
) -> tuple[Float[Array, "T d"], RoutingTotals, Block]:
    """Returns what the block does, computed a second time in the backward pass, and the block."""
    graphdef, routing, rest = _split_routing(block)

    def pure(routing: State, rest: State, x: Array) -> tuple[Array, RoutingTotals, State]:
        copy = nnx.merge(graphdef, routing, rest)
        x, part = copy(x, batch=batch, training=training)
        return x, part, nnx.state(copy, RoutingState)

    x, part, routing = jax.checkpoint(pure)(routing, rest, x)
    return x, part, nnx.merge(graphdef, routing, rest)


def _split_routing(module: nnx.Module) -> tuple[Any, State, State]:
    graphdef, *states = nnx.split(module, RoutingState, ...)
    return graphdef, states[0], states[1]


def build_model(config: ModelConfig, *, key: Array) -> Decoder:
    """Returns a freshly initialised model; the same key gives the same parameters."""
    return Decoder(config, rngs=nnx.Rngs(params=key))


def split_parameters(model: Decoder) -> tuple[Any, State, State]:
    """Returns the model's structure, its parameters, and its running routing estimates."""
    graph, *states = nnx.split(model, nnx.Param, ...)
    return graph, states[0], states[1]


def next_token_loss(
    model: Decoder, tokens: Int[Array, "B S+1"], *, training: bool
) -> tuple[Float[Array, ""], LossReport]:
    """Returns the loss to minimise and its parts.

    Training adds the weighted auxiliary losses, summed over MoE sub-layers; evaluation is the
    cross-entropy alone, under the causal rule.
    """
    logits, totals = model.flat_logits(tokens[:, :-1], training=training)
    losses = cross_entropy(logits, tokens[:, 1:].reshape(-1))
    report = _report(jnp.mean(losses), totals)
    if not training:
        return report.cross_entropy, report
    config = model.config
    auxiliary = config.load_balance_weight * totals.report.load_balance
    auxiliary += config.router_z_weight * totals.report.router_z
    return report.cross_entropy + auxiliary, report


def evaluation(model: Decoder, tokens: Int[Array, "B S+1"]) -> Evaluation:
    """Returns each token's loss and what the routing did, under the causal rule."""
    logits, totals = model.flat_logits(tokens[:, :-1], training=False)
    losses: Array = cross_entropy(logits, tokens[:, 1:].reshape(-1))
    report = _report(jnp.mean(losses), totals)
    rows = losses.reshape(tokens.shape[0], -1)
    return Evaluation(rows, report.drop_fraction, report.experts_per_token)


def token_losses(model: Decoder, tokens: Int[Array, "B S+1"]) -> Float[Array, "B S"]:
    """Returns the loss of each token but the first in nats, under the causal rule."""
    return evaluation(model, tokens).losses


@jax.custom_vjp
def logits_of(x: Float[Array, "T d"], matrix: Float[Array, "d V"]) -> Float[Array, "T V"]:
    """Returns x @ matrix in float32, whose gradient is multiplied on in the dtype of `x`.

    What jax derives would multiply float32 gradients: twice the bytes of the largest array of a
    step, at half the speed of bfloat16.
    """
    logits: Array = jnp.matmul(x, matrix, preferred_element_type=jnp.float32)
    return logits


SavedInputs = tuple[Float[Array, "T d"], Float[Array, "d V"]]


def _logits(
    x: Float[Array, "T d"], matrix: Float[Array, "d V"]
) -> tuple[Float[Array, "T V"], SavedInputs]:
    return logits_of(x, matrix), (x, matrix)


def _logits_backward(saved: SavedInputs, gradient: Float[Array, "T V"]) -> SavedInputs:
    x, matrix = saved
    gradient = gradient.astype(x.dtype)
    return gradient @ matrix.T, x.T @ gradient


logits_of.defvjp(_logits, _logits_backward)


@jax.custom_vjp
def cross_entropy(logits: Float[Array, "T V"], targets: Int[Array, " T"]) -> Float[Array, " T"]:
    """Returns each token's loss in nats."""
    return _cross_entropy(logits, targets)[0]


# Logits, targets, and each token's log-partition.
SavedLoss = tuple[Float[Array, "T V"], Int[Array, " T"], Float[Array, " T"]]


def _cross_entropy(
    logits: Float[Array, "T V"], targets: Int[Array, " T"]
) -> tuple[Float[Array, " T"], SavedLoss]:
    if platform() == "cpu":  # a gather is a kernel of its own
        wanted = jnp.arange(logits.shape[-1]) == targets[:, None]
        picked = jnp.sum(jnp.where(wanted, logits, 0.0), axis=-1)
    else:  # a comparison is a pass over all logits
        picked = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    largest = jnp.max(logits, axis=-1)
    total = jnp.sum(jnp.exp(logits - largest[:, None]), axis=-1)
    losses = jnp.log(total) + largest - picked
    return losses, (logits, targets, losses + picked)


def _cross_entropy_backward(
    saved: SavedLoss, gradient: Float[Array, " T"]
) -> tuple[Float[Array, "T V"], None]:
    logits, targets, log_partition = saved
    wanted = jnp.arange(logits.shape[-1]) == targets[:, None]
    return (jnp.exp(logits - log_partition[:, None]) - wanted) * gradient[:, None], None


cross_entropy.defvjp(_cross_entropy, _cross_entropy_backward)


def _report(loss: Float[Array, ""], totals: RoutingTotals) -> LossReport:
    count = jnp.maximum(totals.layers, 1.0)
    mean: RoutingReport = jax.tree.map(lambda part: part / count, totals.report)
    return LossReport(loss, *mean)
