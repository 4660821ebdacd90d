"""Dense feed-forward sub-layers and the activations that experts share with them."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from brainformer.model.config import ModelConfig
from brainformer.model.initial import normal
from brainformer.search.space.genome import FeedForward


def activate(
    name: str, hidden: Float[Array, "*T h"], gate: Float[Array, "*T h"] | None = None
) -> Float[Array, "*T h"]:
    """Returns the activation of `hidden`; gated kinds multiply it by the linear `gate`."""
    kind = name.removeprefix("gated_")
    if kind == "gelu":
        active = jax.nn.gelu(hidden, approximate=True)
    else:
        active = jax.nn.relu(hidden)
        if kind == "squared_relu":  # Primer, arXiv:2109.08668
            active = active * active
    return active if gate is None else active * gate


class Projection(nnx.Module):
    """x @ W, or x @ A @ B of an inner width where `rank` is above 0."""

    def __init__(
        self, inputs: int, outputs: int, config: ModelConfig, *, rank: int = 0, rngs: nnx.Rngs
    ) -> None:
        self.dtype = jnp.dtype(config.compute_dtype)
        widths = (inputs, rank, outputs) if rank else (inputs, outputs)
        self.matrices = nnx.List(
            [nnx.Param(normal(rngs, (a, b), scale=a**-0.5)) for a, b in itertools.pairwise(widths)]
        )

    def __call__(self, x: Float[Array, "T i"]) -> Float[Array, "T o"]:
        """Returns the projection in the compute dtype."""
        for matrix in self.matrices:
            x = jnp.matmul(x, matrix[...].astype(self.dtype))
        return x


class FeedForwardLayer(nnx.Module):
    """Up, activation, down; gated activations have a third matrix (arXiv:2002.05202)."""

    def __init__(self, layer: FeedForward, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        dim, hidden = config.genome.model_dim, layer.hidden_dim
        self.activation = layer.activation
        gated = layer.activation.startswith("gated_")
        self.up = Projection(dim, hidden, config, rank=layer.rank, rngs=rngs)
        self.gate = Projection(dim, hidden, config, rank=layer.rank, rngs=rngs) if gated else None
        self.down = Projection(hidden, dim, config, rank=layer.rank, rngs=rngs)

    def __call__(self, x: Float[Array, "T d"]) -> Float[Array, "T d"]:
        """Returns the branch's output."""
        gate = None if self.gate is None else self.gate(x)
        return self.down(activate(self.activation, self.up(x), gate))
