"""The sparsely gated feed-forward sub-layer: a router and experts (arXiv:2306.00008, Table 1).

Tokens reach experts through a fixed number of places: gather, one batched matrix product per
matrix, scatter-add. `ragged_dot` is dense on CPU and on GPU without custom kernels; one-hot
products cost more than the experts themselves for long sequences.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from brainformer.model.config import ModelConfig
from brainformer.model.experts.expert_dispatch import Slots, rows_of, weighted_sum
from brainformer.model.experts.expert_parallel import (
    Matrices,
    Placed,
    Routed,
    computed_by_gates,
    routed_in_groups,
    routed_together,
)
from brainformer.model.experts.router import (
    admitted_share,
    load_balance_loss,
    scores,
    threshold_gates,
    tracked_cutoff,
)
from brainformer.model.experts.routing import (
    RoutingReport,
    RoutingState,
    choose_across_batch,
    pack_blocks,
    paper_expert_choice,
    paper_top_k,
    preferences,
    top_k_gates,
    turns_with_capacity,
)
from brainformer.model.feed_forward import activate
from brainformer.model.initial import constant, normal
from brainformer.model.surroundings import on_several_devices, platform
from brainformer.search.cost.cost import DROPLESS_BLOCK, TOP_K, is_gated
from brainformer.search.cost.trainable import slots_per_expert
from brainformer.search.space.genome import MoE

# Places in a block of one expert's tokens: long enough to multiply well, short enough that the
# half-empty last block of each expert costs little.
BLOCK = {"cpu": DROPLESS_BLOCK, "accelerator": 256}


class MoELayer(nnx.Module):
    """Experts of two or three matrices behind a router.

    Attributes:
        router: Projects a token onto experts; always float32.
        cutoff: Per expert, the score above which evaluation gives it a token (expert choice).
        steps: Training steps that `cutoff` has seen.
    """

    def __init__(self, layer: MoE, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        dim, hidden, experts = config.genome.model_dim, layer.hidden_dim, config.experts
        self.layer = layer
        self.config = config
        self.router = nnx.Param(normal(rngs, (dim, experts), scale=dim**-0.5))
        self.up = nnx.Param(normal(rngs, (experts, dim, hidden), scale=dim**-0.5))
        if is_gated(layer.activation):
            self.gate = nnx.Param(normal(rngs, (experts, dim, hidden), scale=dim**-0.5))
        self.down = nnx.Param(normal(rngs, (experts, hidden, dim), scale=hidden**-0.5))
        self.cutoff = RoutingState(constant((experts,), 1.0 / experts))
        self.steps = RoutingState(constant((), 0.0))

    def __call__(
        self, x: Float[Array, "T d"], *, batch: int, training: bool
    ) -> tuple[Float[Array, "T d"], RoutingReport]:
        """Returns the weighted sum of the chosen experts' outputs, and how tokens were routed."""
        if self._has_places(training=training):
            out, report, admitted = self._in_groups(x, batch)
            if training and self.layer.gating == "expert_choice":
                self.observe_admitted(admitted, report.experts_per_token)
            return out, report
        probabilities, z_loss = scores(self.router[...], x)
        if self.layer.gating == "expert_choice":
            gates = threshold_gates(probabilities, self.cutoff[...])
            routed = gates > 0
            missed = jnp.mean(~routed.any(axis=1))
            each = jnp.mean(routed.sum(axis=1, dtype=jnp.float32))
            report = RoutingReport(jnp.zeros(()), z_loss, missed, each, _load(routed.sum(0)))
            return self.compute_sparse(x, gates), report
        k = TOP_K[self.layer.gating]
        gates = top_k_gates(probabilities, preferences(probabilities), k)
        counts = jnp.sum(gates > 0, axis=0, dtype=jnp.float32)
        balance = load_balance_loss(probabilities, counts, k)
        each = jnp.asarray(float(k))
        report = RoutingReport(balance, z_loss, jnp.zeros(()), each, _load(counts))
        return self.compute_dropless(x, gates, k, training=training), report

    def _has_places(self, *, training: bool) -> bool:
        """Returns whether the rule fills a fixed number of places, not all that it needs."""
        paper = self.config.routing == "paper"
        limited = self.layer.gating == "expert_choice" or self.layer.capacity_factor > 0
        return limited and (training or paper)

    def _in_groups(self, x: Float[Array, "T d"], batch: int) -> Routed:
        """Returns output, report and admitted shares of a rule with places, by groups of rows."""
        groups = self.config.expert_groups
        routing, matrices = (self.router[...], self.cutoff[...]), self._matrices()
        if on_several_devices():
            if groups == 1:
                return routed_together(self, routing, matrices, x, batch=batch)
            return routed_in_groups(self, routing, matrices, x, batch=batch, groups=groups)
        router, cutoff = routing

        def one(rows: Array) -> Routed:
            slots, report, admitted = self.place(*scores(router, rows), cutoff, batch // groups)
            out = self.run(rows_of(rows, slots), matrices)
            return weighted_sum(out, slots, rows.shape[0]), report, admitted

        if groups == 1:
            return one(x)
        out, report, admitted = jax.vmap(one)(x.reshape(groups, -1, x.shape[-1]))
        report, admitted = jax.tree.map(lambda part: part.mean(axis=0), (report, admitted))
        return out.reshape(x.shape), report, admitted

    def place(
        self,
        probabilities: Float[Array, "T E"],
        z_loss: Float[Array, ""],
        cutoff: Float[Array, " E"],
        batch: int,
    ) -> Placed:
        """Returns the places that a rule with fixed places fills, a report, and admitted shares.

        The last is what each expert's cut-off would admit of these tokens in evaluation.
        """
        rule = PLACE_RULES[self.layer.gating]
        slots, report = rule(self.layer, self.config, probabilities, z_loss, batch)
        return slots, report, admitted_share(probabilities, cutoff)

    def compute_sparse(
        self, x: Float[Array, "T d"], gates: Float[Array, "T E"]
    ) -> Float[Array, "T d"]:
        """Returns the sum of gate x expert(token), any number of experts a token, no gradient.

        Time follows the number of routed tokens: a loop over as many blocks as are needed.
        """
        if on_several_devices():
            return computed_by_gates(self._sparse, self._matrices(), x, gates, differentiable=False)
        return self._sparse(x, gates, self._matrices())

    def _sparse(
        self, x: Float[Array, "T d"], gates: Float[Array, "T E"], matrices: Matrices
    ) -> Float[Array, "T d"]:
        tokens, experts = gates.shape
        block = min(_block(), tokens)
        most = experts * -(-tokens // block)
        packed, expert, used = pack_blocks(gates > 0, block=block, blocks=most)
        padded_x = jnp.concatenate([x, jnp.zeros((1, x.shape[1]), x.dtype)])
        padded_gates = jnp.concatenate([gates, jnp.zeros((1, experts))])

        def add_block(i: Array, total: Array) -> Array:
            token, owner = packed[i], expert[i]
            out = self.run(padded_x[token][None], _of_experts(matrices, owner[None]))[0]
            weight = padded_gates[token, owner][:, None].astype(x.dtype)
            return total.at[token].add(out * weight, mode="drop")

        total: Array = jax.lax.fori_loop(0, used, add_block, jnp.zeros_like(x))
        return total

    def compute_dropless(
        self, x: Float[Array, "T d"], gates: Float[Array, "T E"], k: int, *, training: bool
    ) -> Float[Array, "T d"]:
        """Returns the same for exactly k experts a token, with a gradient.

        Without one, on a mesh, a device does what its experts are asked for; with one, it is ready
        for all of its tokens to choose them.
        """
        if on_several_devices() and not training:
            return self.compute_sparse(x, gates)

        def compute(x: Array, gates: Array, matrices: Matrices) -> Array:
            return self._dropless(x, gates, matrices, k)

        if on_several_devices():
            return computed_by_gates(compute, self._matrices(), x, gates, differentiable=True)
        return compute(x, gates, self._matrices())

    def _dropless(
        self, x: Float[Array, "T d"], gates: Float[Array, "T E"], matrices: Matrices, k: int
    ) -> Float[Array, "T d"]:
        tokens, experts = gates.shape
        block = min(_block(), tokens)
        blocks = -(-tokens * min(k, experts) // block) + experts
        packed, expert, _ = pack_blocks(gates > 0, block=block, blocks=blocks)
        empty = packed == tokens
        packed = jnp.where(empty, 0, packed)
        weights = jnp.where(empty, 0.0, gates[packed, expert[:, None]])
        slots = Slots(packed, weights)
        out = self.run(rows_of(x, slots), _of_experts(matrices, expert))
        return weighted_sum(out, slots, tokens)

    def observe_admitted(
        self, admitted: Float[Array, " E"], experts_per_token: Float[Array, ""]
    ) -> None:
        """Moves the cut-offs towards admitting as many tokens as training gives each expert."""
        steps, share = self.steps[...], experts_per_token / self.config.experts
        # New variables rather than new values: a caller may have merged this model from
        # variables of an outer trace (the closure of a loss), which cannot be written here.
        self.cutoff = RoutingState(tracked_cutoff(self.cutoff[...], admitted, share, steps))
        self.steps = RoutingState(steps + 1.0)

    def _matrices(self) -> Matrices:
        """Returns the matrices of all experts by name."""
        names = ("up", "gate", "down") if is_gated(self.layer.activation) else ("up", "down")
        return {name: getattr(self, name)[...] for name in names}

    def run(self, rows: Float[Array, "N C d"], matrices: Matrices) -> Float[Array, "N C d"]:
        """Returns what experts make of the rows in their places."""
        cast = {name: value.astype(rows.dtype) for name, value in matrices.items()}
        hidden = jnp.einsum("ncd,ndh->nch", rows, cast["up"])
        gate = jnp.einsum("ncd,ndh->nch", rows, cast["gate"]) if "gate" in cast else None
        hidden = activate(self.layer.activation, hidden, gate)
        return jnp.einsum("nch,nhd->ncd", hidden, cast["down"])


def _of_experts(matrices: Matrices, experts: Array) -> Matrices:
    """Returns the matrices of the expert of each row of places."""
    return {name: value[experts] for name, value in matrices.items()}


Filled = tuple[Slots, RoutingReport]


def _place_top_k(
    layer: MoE,
    config: ModelConfig,
    probabilities: Float[Array, "T E"],
    z_loss: Float[Array, ""],
    batch: int,
) -> Filled:
    """Token choice with a capacity: what finds no room is dropped and counted."""
    count, experts = probabilities.shape
    k = TOP_K[layer.gating]
    order = preferences(probabilities)
    if config.routing == "paper":
        places = max(1, slots_per_expert(layer, experts, count // batch))
        choice = paper_top_k(probabilities, order, k, batch=batch, places=places)
    else:
        factor = layer.capacity_factor
        choice = turns_with_capacity(probabilities, order, k, batch=batch, capacity_factor=factor)
    dropped = 1.0 - choice.taken.sum() / (count * k)
    balance = load_balance_loss(probabilities, choice.wanted, k)
    each = choice.taken.sum() / count
    report = RoutingReport(balance, z_loss, dropped, each, _load(choice.taken))
    return choice.slots, report


def _place_expert_choice(
    layer: MoE,
    config: ModelConfig,
    probabilities: Float[Array, "T E"],
    z_loss: Float[Array, ""],
    batch: int,
) -> Filled:
    """Expert choice across the batch, or over the sequence as the paper has it."""
    count, experts = probabilities.shape
    if config.routing == "paper":
        places = max(1, slots_per_expert(layer, experts, count // batch))
        choice = paper_expert_choice(probabilities, batch=batch, places=places)
    else:
        rows = max(1, slots_per_expert(layer, experts, batch))
        choice = choose_across_batch(probabilities, batch=batch, rows=rows)
    load = jnp.full((experts,), 1.0 / experts)
    each = jnp.asarray(choice.tokens.size / count)
    report = RoutingReport(jnp.zeros(()), z_loss, choice.missed, each, load)
    return Slots(choice.tokens, choice.weights), report


PLACE_RULES: dict[str, Callable[..., Filled]] = {
    **dict.fromkeys(TOP_K, _place_top_k),
    "expert_choice": _place_expert_choice,
}


def _load(counts: Array) -> Float[Array, " E"]:
    """Returns each expert's share of all computed tokens."""
    counts = counts.astype(jnp.float32)
    return counts / jnp.maximum(counts.sum(), 1.0)


def _block() -> int:
    return BLOCK["cpu" if platform() == "cpu" else "accelerator"]
