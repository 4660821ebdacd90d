"""Causal multi-head self-attention with rotary positions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from model.config import ModelConfig
from model.initial import constant, normal
from model.rotary import rotary_table, rotate
from search.genome import Attention


class AttentionLayer(nnx.Module):
    """Attention over each row's past; `heads` x head dim need not equal the model dim."""

    def __init__(self, layer: Attention, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.heads = layer.heads
        self.head_dim = config.head_dim
        self.conv_width = layer.conv_width
        self.dtype = jnp.dtype(config.compute_dtype)
        dim, width = config.genome.model_dim, layer.heads * config.head_dim
        self.qkv = nnx.Param(normal(rngs, (dim, 3 * width), scale=dim**-0.5))
        self.out = nnx.Param(normal(rngs, (width, dim), scale=width**-0.5))
        if layer.conv_width:
            past = constant((layer.conv_width - 1, 3 * width), 0.0)
            self.kernel = nnx.Param(jnp.concatenate([past, constant((1, 3 * width), 1.0)]))

    def __call__(self, x: Float[Array, "T d"], *, batch: int) -> Float[Array, "T d"]:
        """Returns the branch's output; rows of `batch` do not see one another."""
        length = x.shape[0] // batch
        qkv = jnp.matmul(x, self.qkv[...].astype(self.dtype))
        if self.conv_width:
            qkv = self._convolved(qkv, batch)
        qkv = qkv.reshape(batch, length, 3, self.heads, self.head_dim)
        cosines, sines = rotary_table(jnp.arange(length), self.head_dim)
        query = rotate(qkv[:, :, 0], cosines[None], sines[None])
        key = rotate(qkv[:, :, 1], cosines[None], sines[None])
        mixed = causal_attention(query, key, qkv[:, :, 2])
        return jnp.matmul(mixed.reshape(x.shape[0], -1), self.out[...].astype(self.dtype))

    def _convolved(self, qkv: Float[Array, "T w"], batch: int) -> Float[Array, "T w"]:
        """Returns Primer's depthwise causal convolution of the projections (arXiv:2109.08668)."""
        rows = qkv.reshape(batch, -1, qkv.shape[-1])
        length = rows.shape[1]
        padded = jnp.pad(rows, ((0, 0), (self.conv_width - 1, 0), (0, 0)))
        kernel = self.kernel[...].astype(self.dtype)
        taps = [padded[:, i : i + length] * kernel[i] for i in range(self.conv_width)]
        return sum(taps[1:], taps[0]).reshape(qkv.shape)


def causal_attention(
    query: Float[Array, "B S H D"], key: Float[Array, "B S H D"], value: Float[Array, "B S H D"]
) -> Float[Array, "B S H D"]:
    """Returns softmax(q k / sqrt(D)) v over positions up to the query's own."""
    length, head_dim = query.shape[1], query.shape[3]
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32)
    mask = jnp.tril(jnp.ones((length, length), bool))
    scores = jnp.where(mask, scores * head_dim**-0.5, -1e30)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(value.dtype), value)
