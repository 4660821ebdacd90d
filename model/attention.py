"""Causal multi-head self-attention with rotary positions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
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
        mixed = causal_attention(qkv)
        return jnp.matmul(mixed.reshape(x.shape[0], -1), self.out[...].astype(self.dtype))

    def _convolved(self, qkv: Float[Array, "T w"], batch: int) -> Float[Array, "T w"]:
        """Returns Primer's depthwise causal convolution of the projections (arXiv:2109.08668)."""
        rows = qkv.reshape(batch, -1, qkv.shape[-1])
        length = rows.shape[1]
        padded = jnp.pad(rows, ((0, 0), (self.conv_width - 1, 0), (0, 0)))
        kernel = self.kernel[...].astype(self.dtype)
        taps = [padded[:, i : i + length] * kernel[i] for i in range(self.conv_width)]
        return sum(taps[1:], taps[0]).reshape(qkv.shape)


Projected = Float[Array, "B S 3 H D"]
Heads = Float[Array, "B H S D"]
# Query, key, value, exponentials, one over their sums, and the output before that division.
Saved = tuple[Heads, Heads, Heads, Float[Array, "B H S S"], Float[Array, "B H S"], Heads]


@jax.custom_vjp
def causal_attention(qkv: Projected) -> Float[Array, "B S H D"]:
    """Returns softmax(q k / sqrt(D)) v over positions up to the query's own, q and k turned.

    The derivative is written out, as flash attention has it (arXiv:2205.14135): what is as large
    as S x S leaves a CPU's cache, and the fewer passes over it the better. Heads come first inside,
    as matrix products want them, so that neither pass has other transposes than these.
    """
    return _attend(qkv)[0]


def _attend(qkv: Projected) -> tuple[Float[Array, "B S H D"], Saved]:
    """Returns the output and what the derivative needs; the sum divides the output, not S x S."""
    length, head_dim = qkv.shape[1], qkv.shape[4]
    query, key, value = (qkv[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
    cosines, sines = rotary_table(np.arange(length), head_dim)
    query, key = rotate(query, cosines, sines), rotate(key, cosines, sines)
    scores = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32)
    mask = jnp.tril(jnp.ones((length, length), bool))
    scores = jnp.where(mask, scores * head_dim**-0.5, -1e30)
    exponentials = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    inverse = 1.0 / exponentials.sum(axis=-1)
    exponentials = exponentials.astype(value.dtype)
    summed = jnp.einsum("bhqk,bhkd->bhqd", exponentials, value, preferred_element_type=jnp.float32)
    mixed = (summed * inverse[..., None]).astype(value.dtype).transpose(0, 2, 1, 3)
    return mixed, (query, key, value, exponentials, inverse, summed.astype(value.dtype))


def _attend_backward(saved: Saved, gradient: Float[Array, "B S H D"]) -> tuple[Projected]:
    """Returns the gradient of queries, keys and values."""
    query, key, value, exponentials, inverse, summed = saved
    length, head_dim = query.shape[2:]
    share = gradient.transpose(0, 2, 1, 3) * inverse[..., None]  # float32, since `inverse` is
    mean = jnp.sum(share * summed, axis=-1) * inverse
    share = share.astype(value.dtype)
    pulled = jnp.einsum("bhqd,bhkd->bhqk", share, value, preferred_element_type=jnp.float32)
    scores = exponentials * (pulled - mean[..., None]) * head_dim**-0.5
    scores = scores.astype(query.dtype)
    cosines, sines = rotary_table(np.arange(length), head_dim)
    parts = (
        rotate(jnp.einsum("bhqk,bhkd->bhqd", scores, key), cosines, -sines),
        rotate(jnp.einsum("bhqk,bhqd->bhkd", scores, query), cosines, -sines),
        jnp.einsum("bhqk,bhqd->bhkd", exponentials, share),
    )
    return (jnp.stack(parts).transpose(1, 3, 0, 2, 4),)


causal_attention.defvjp(_attend, _attend_backward)
