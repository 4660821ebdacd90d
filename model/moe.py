"""The sparsely gated feed-forward sub-layer: a router and experts (arXiv:2306.00008, Table 1).

Tokens reach experts through a fixed number of places: gather, one batched matrix product per
matrix, scatter-add. `ragged_dot` is dense on CPU and on GPU without custom kernels; one-hot
products cost more than the experts themselves for long sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from model.config import ModelConfig
from model.feed_forward import activate
from model.routing import (
    CUTOFF_DECAY,
    RoutingReport,
    RoutingState,
    Slots,
    any_choice,
    choose_across_batch,
    choose_top_k,
    load_balance_loss,
    pack_blocks,
    paper_expert_choice,
    paper_top_k,
    router_z_loss,
    threshold_gates,
    top_k_gates,
    turns_with_capacity,
    weights_of,
)
from search.cost import TOP_K, is_gated, slots_per_expert
from search.genome import MoE

# Places in a block of one expert's tokens: long enough to multiply well, short enough that the
# half-empty last block of each expert costs little.
BLOCK = {"cpu": 64, "accelerator": 256}


class MoELayer(nnx.Module):
    """Experts of two or three matrices behind a router.

    Attributes:
        router: Projects a token onto experts; always float32.
        cutoff: Per expert, the running score of the last token that it admitted.
        steps: Training steps that `cutoff` has seen.
    """

    def __init__(self, layer: MoE, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        dim, hidden, experts = config.genome.model_dim, layer.hidden_dim, config.experts
        self.layer = layer
        self.config = config
        self.router = nnx.Param(_normal(rngs, (dim, experts), dim))
        self.up = nnx.Param(_normal(rngs, (experts, dim, hidden), dim))
        if is_gated(layer.activation):
            self.gate = nnx.Param(_normal(rngs, (experts, dim, hidden), dim))
        self.down = nnx.Param(_normal(rngs, (experts, hidden, dim), hidden))
        self.cutoff = RoutingState(jnp.full((experts,), 1.0 / experts))
        self.steps = RoutingState(jnp.zeros(()))

    def __call__(
        self, x: Float[Array, "T d"], *, batch: int, training: bool
    ) -> tuple[Float[Array, "T d"], RoutingReport]:
        """Returns the weighted sum of the chosen experts' outputs, and how tokens were routed."""
        logits = x.astype(jnp.float32) @ self.router[...]
        probabilities = jax.nn.softmax(logits, axis=-1)
        z_loss = router_z_loss(logits)
        rule = RULES[self.layer.gating]
        return rule(self, x, probabilities, z_loss, batch, training)

    def compute(self, x: Float[Array, "T d"], slots: Slots) -> Float[Array, "T d"]:
        """Returns the sum over places of weight x expert(token), each token in its row."""
        rows = x[slots.tokens]
        out = self._experts(rows, slots.experts) * slots.weights[..., None].astype(x.dtype)
        flat = out.reshape(-1, x.shape[-1])
        return jnp.zeros_like(x).at[slots.tokens.reshape(-1)].add(flat)

    def compute_sparse(
        self, x: Float[Array, "T d"], gates: Float[Array, "T E"]
    ) -> Float[Array, "T d"]:
        """Returns the same for any number of experts a token, without a gradient.

        Time follows the number of routed tokens: a loop over as many blocks as are needed.
        """
        tokens, experts = gates.shape
        block = min(_block(), tokens)
        most = experts * -(-tokens // block)
        packed, expert, used = pack_blocks(gates > 0, block=block, blocks=most)
        padded_x = jnp.concatenate([x, jnp.zeros((1, x.shape[1]), x.dtype)])
        padded_gates = jnp.concatenate([gates, jnp.zeros((1, experts))])

        def add_block(i: Array, total: Array) -> Array:
            token, owner = packed[i], expert[i]
            out = self._experts(padded_x[token][None], owner[None])[0]
            weight = padded_gates[token, owner][:, None].astype(x.dtype)
            return total.at[token].add(out * weight, mode="drop")

        total: Array = jax.lax.fori_loop(0, used, add_block, jnp.zeros_like(x))
        return total

    def compute_dropless(
        self, x: Float[Array, "T d"], gates: Float[Array, "T E"], k: int
    ) -> Float[Array, "T d"]:
        """Returns the same for exactly k experts a token, with a gradient."""
        tokens, experts = gates.shape
        block = min(_block(), tokens)
        blocks = -(-tokens * k // block) + experts
        packed, expert, _ = pack_blocks(gates > 0, block=block, blocks=blocks)
        empty = packed == tokens
        packed = jnp.where(empty, 0, packed)
        weights = jnp.where(empty, 0.0, gates[packed, expert[:, None]])
        return self.compute(x, Slots(packed, weights, expert))

    def observe_cutoff(self, cutoff: Float[Array, " E"]) -> None:
        """Moves the running cut-offs: the mean of the first steps, then an exponential mean."""
        steps = self.steps[...]
        decay = jnp.minimum(CUTOFF_DECAY, steps / (steps + 1.0))
        # New variables rather than new values: a caller may have merged this model from
        # variables of an outer trace (the closure of a loss), which cannot be written here.
        self.cutoff = RoutingState(decay * self.cutoff[...] + (1.0 - decay) * cutoff)
        self.steps = RoutingState(steps + 1.0)

    def _experts(self, rows: Float[Array, "N C d"], experts: Array | None) -> Float[Array, "N C d"]:
        def matrix(parameter: nnx.Param[Array]) -> Array:
            value = parameter[...].astype(rows.dtype)
            return value if experts is None else value[experts]

        hidden = jnp.einsum("ncd,ndh->nch", rows, matrix(self.up))
        gate = None
        if is_gated(self.layer.activation):
            gate = jnp.einsum("ncd,ndh->nch", rows, matrix(self.gate))
        hidden = activate(self.layer.activation, hidden, gate)
        return jnp.einsum("nch,nhd->ncd", hidden, matrix(self.down))


Routed = tuple[Float[Array, "T d"], RoutingReport]


def _route_top_k(
    k: int,
    moe: MoELayer,
    x: Float[Array, "T d"],
    probabilities: Float[Array, "T E"],
    z_loss: Float[Array, ""],
    batch: int,
    training: bool,
) -> Routed:
    """Token choice: dropless, or capacity that accrues with position in training."""
    factor = moe.layer.capacity_factor
    choices = choose_top_k(probabilities, min(k, moe.config.experts))
    gates = top_k_gates(probabilities, choices)
    balance = load_balance_loss(probabilities, choices)
    paper = moe.config.routing == "paper"
    if factor == 0 or not (training or paper):
        routed = any_choice(choices)
        sparse = moe.compute_dropless(x, gates, len(choices))
        return sparse, RoutingReport(balance, z_loss, jnp.zeros(()), _load(routed.sum(0)))
    if paper:
        length = x.shape[0] // batch
        places = max(1, slots_per_expert(moe.layer, moe.config.experts, length))
        tokens, filled = paper_top_k(choices, batch=batch, places=places)
    else:
        tokens, filled = turns_with_capacity(choices, batch=batch, capacity_factor=factor)
    taken = filled.sum(axis=1)
    dropped = 1.0 - taken.sum() / (x.shape[0] * len(choices))
    out = moe.compute(x, Slots(tokens, weights_of(gates, tokens, filled)))
    return out, RoutingReport(balance, z_loss, dropped, _load(taken))


def _route_expert_choice(
    moe: MoELayer,
    x: Float[Array, "T d"],
    probabilities: Float[Array, "T E"],
    z_loss: Float[Array, ""],
    batch: int,
    training: bool,
) -> Routed:
    """Expert choice: across the batch in training, by threshold elsewhere."""
    experts = moe.config.experts
    zero = jnp.zeros(())
    if moe.config.routing == "paper":
        places = max(1, slots_per_expert(moe.layer, experts, x.shape[0] // batch))
        tokens, cutoff = paper_expert_choice(probabilities, batch=batch, places=places)
    elif training:
        rows = max(1, slots_per_expert(moe.layer, experts, batch))
        tokens, cutoff = choose_across_batch(probabilities, batch=batch, rows=rows)
    else:
        gates = threshold_gates(probabilities, moe.cutoff[...])
        routed = gates > 0
        dropped = jnp.mean(~routed.any(axis=1))
        report = RoutingReport(zero, z_loss, dropped, _load(routed.sum(0)))
        return moe.compute_sparse(x, gates), report
    if training:
        moe.observe_cutoff(cutoff)
    met = jnp.zeros(x.shape[0], jnp.bool_).at[tokens.reshape(-1)].set(True)
    load = jnp.full((experts,), 1.0 / experts)
    out = moe.compute(x, Slots(tokens, weights_of(probabilities, tokens, None)))
    return out, RoutingReport(zero, z_loss, 1.0 - jnp.mean(met), load)


Rule = Callable[..., Routed]
RULES: dict[str, Rule] = {
    **{gating: partial(_route_top_k, k) for gating, k in TOP_K.items()},
    "expert_choice": _route_expert_choice,
}


def _load(counts: Array) -> Float[Array, " E"]:
    """Returns each expert's share of all computed tokens."""
    counts = counts.astype(jnp.float32)
    return counts / jnp.maximum(counts.sum(), 1.0)


def _block() -> int:
    return BLOCK["cpu" if jax.default_backend() == "cpu" else "accelerator"]


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...], fan_in: int) -> Array:
    return jnp.asarray(jax.random.normal(rngs.params(), shape) * fan_in**-0.5)
