"""One block: the genome's sub-layers, each a residual branch with its own norm."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from brainformer.model.attention import AttentionLayer
from brainformer.model.config import ModelConfig
from brainformer.model.experts.moe import MoELayer
from brainformer.model.experts.routing import RoutingReport, RoutingState
from brainformer.model.feed_forward import FeedForwardLayer
from brainformer.model.norms import make_norm

# One row per kind of sub-layer; costs, mutations and drawings have tables of their own.
MODULES: dict[str, type[nnx.Module]] = {
    "attention": AttentionLayer,
    "feed_forward": FeedForwardLayer,
    "moe": MoELayer,
}


class RoutingTotals(NamedTuple):
    """Sums of routing reports over MoE sub-layers, and how many there were."""

    report: RoutingReport
    layers: Float[Array, ""]

    @classmethod
    def zero(cls, experts: int) -> RoutingTotals:
        """Returns the totals of no sub-layer."""
        none = jnp.zeros(())
        return cls(RoutingReport(none, none, none, none, jnp.zeros((experts,))), none)

    def add(self, other: RoutingTotals) -> RoutingTotals:
        """Returns the totals of both."""
        total: RoutingTotals = jax.tree.map(jnp.add, self, other)
        return total


class SubLayerBranch(nnx.Module):
    """A residual branch: x + layer(norm(x)), or norm(x + layer(x)) with a post-norm."""

    def __init__(self, layer: Any, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.kind = layer.kind
        self.post = layer.norm_position == "post"
        self.norm = make_norm(layer.norm, config.genome.model_dim)
        self.inner: Any = MODULES[layer.kind](layer, config, rngs=rngs)  # type: ignore[call-arg]

    def __call__(
        self, x: Float[Array, "T d"], *, batch: int, training: bool
    ) -> tuple[Float[Array, "T d"], RoutingReport | None]:
        """Returns the new residual stream, and the routing report of an MoE sub-layer."""
        branch = x if self.post else self.norm(x)
        report = None
        if self.kind == "attention":
            branch = self.inner(branch, batch=batch)
        elif self.kind == "moe":
            branch, report = self.inner(branch, batch=batch, training=training)
        else:
            branch = self.inner(branch)
        x = x + branch
        return (self.norm(x) if self.post else x), report


class Block(nnx.Module):
    """The genome's sub-layers in order (arXiv:2306.00008, equation 3)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.experts = config.experts
        self.layers = nnx.List(
            [SubLayerBranch(layer, config, rngs=rngs) for layer in config.genome.layers]
        )

    def __call__(
        self, x: Float[Array, "T d"], *, batch: int, training: bool
    ) -> tuple[Float[Array, "T d"], RoutingTotals]:
        """Returns the residual stream after the block, and its routing totals."""
        totals = RoutingTotals.zero(self.experts)
        for layer in self.layers:
            graph, *states = nnx.split(layer, RoutingState, ...)
            routing, rest = states
            x, report, routing = _apply(graph, routing, rest, x, batch=batch, training=training)
            if report is not None:
                # New variables rather than new values; see MoELayer.observe_admitted.
                for name, variable in routing["inner"].items():
                    setattr(layer.inner, name, RoutingState(variable[...]))
                totals = totals.add(RoutingTotals(report, jnp.ones(())))
        return x, totals


@partial(jax.jit, static_argnums=0, static_argnames=("batch", "training"))
def _apply(
    graph: Any, routing: Any, rest: Any, x: Float[Array, "T d"], *, batch: int, training: bool
) -> tuple[Float[Array, "T d"], RoutingReport | None, Any]:
    """Returns what a sub-layer does: traced and differentiated once for all that are alike.

    XLA inlines the call, so the compiled program is the same.
    """
    layer = nnx.merge(graph, routing, rest)
    x, report = layer(x, batch=batch, training=training)
    return x, report, nnx.state(layer, RoutingState)
