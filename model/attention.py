"""Causal multi-head self-attention with rotary positions."""

from __future__ import annotations

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from brainformer.model.config import ModelConfig
from brainformer.model.initial import constant, normal
from brainformer.model.rotary import rotary_table, rotate
from brainformer.model.surroundings import platform
from brainformer.search.cost.cost import query_spans
from brainformer.search.space.genome import Attention


class AttentionLayer(nnx.Module):
    """Attention over each row's past; `heads` x head dim need not equal the model dim."""

    def __init__(self, layer: Attention, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.heads = layer.heads
        self.head_dim = config.head_dim
        self.rope_base = config.rope_base
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
        mixed = causal_attention(qkv, self.rope_base)
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
# Query, key, value, the exponentials of each span, one over their sums, and the output before
# that division.
Saved = tuple[Heads, Heads, Heads, list[Float[Array, "B H Q K"]], Float[Array, "B H S"], Heads]


def causal_attention(qkv: Projected, rope_base: float) -> Float[Array, "B S H D"]:
    """Returns softmax(q k / sqrt(D)) v over positions up to the query's own, q and k turned."""
    if has_flash_kernel(qkv.dtype, qkv.shape[-1]):
        return flash_attention(qkv, rope_base)
    return written_attention(qkv, rope_base)


def has_flash_kernel(dtype: jnp.dtype, head_dim: int) -> bool:
    """Returns whether the device has cuDNN's kernel for such heads: NVIDIA's, from Ampere on."""
    if platform() != "gpu" or dtype != jnp.bfloat16:
        return False
    major, _, _ = str(getattr(jax.devices()[0], "compute_capability", "")).partition(".")
    return major.isdigit() and int(major) >= 8 and head_dim % 8 == 0 and head_dim <= 128


def flash_attention(
    qkv: Projected, rope_base: float, *, implementation: Literal["cudnn", "xla"] = "cudnn"
) -> Float[Array, "B S H D"]:
    """Returns the same from one kernel, which stores nothing as large as S x S."""
    length, head_dim = qkv.shape[1], qkv.shape[4]
    query, key, value = (part[:, :, 0] for part in jnp.split(qkv, 3, axis=2))
    table = rotary_table(np.arange(length), head_dim, rope_base)
    cosines, sines = (part[:, None] for part in table)
    query, key = rotate(query, cosines, sines), rotate(key, cosines, sines)
    mixed: Array = jax.nn.dot_product_attention(
        query, key, value, is_causal=True, implementation=implementation
    )
    return mixed


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def written_attention(qkv: Projected, rope_base: float) -> Float[Array, "B S H D"]:
    """Returns the same from matrix products.

    The derivative is written out, as flash attention has it (arXiv:2205.14135): what is as large
    as S x S leaves a CPU's cache, and the fewer passes over it the better. Heads come first inside,
    as matrix products want them, queries come in spans that see the keys up to their own end, and
    the root of D divides the queries as they are turned.
    """
    return _attend(qkv, rope_base)[0]


def _attend(qkv: Projected, rope_base: float) -> tuple[Float[Array, "B S H D"], Saved]:
    """Returns the output and what the derivative needs; the sum divides the output, not S x S."""
    length, head_dim = qkv.shape[1], qkv.shape[4]
    query, key, value = (qkv[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
    cosines, sines = rotary_table(np.arange(length), head_dim, rope_base)
    scale = head_dim**-0.5
    query, key = rotate(query, scale * cosines, scale * sines), rotate(key, cosines, sines)
    kept, sums, outputs = [], [], []
    for first, end in query_spans(length):
        scores = _product("bhqd,bhkd->bhqk", query[:, :, first:end], key[:, :, :end])
        mask = jnp.tril(jnp.ones((end - first, end), bool), first)
        scores = jnp.where(mask, scores, -1e30)
        exponentials = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
        sums.append(exponentials.sum(axis=-1))
        kept.append(exponentials.astype(value.dtype))
        outputs.append(_product("bhqk,bhkd->bhqd", kept[-1], value[:, :, :end]))
    inverse = 1.0 / jnp.concatenate(sums, axis=-1)
    summed = jnp.concatenate(outputs, axis=-2)
    mixed = (summed * inverse[..., None]).astype(value.dtype).transpose(0, 2, 1, 3)
    return mixed, (query, key, value, kept, inverse, summed.astype(value.dtype))


def _attend_backward(
    rope_base: float, saved: Saved, gradient: Float[Array, "B S H D"]
) -> tuple[Projected]:
    """Returns the gradient of queries, keys and values."""
    query, key, value, kept, inverse, summed = saved
    length, head_dim = query.shape[2:]
    share = gradient.transpose(0, 2, 1, 3) * inverse[..., None]  # float32, since `inverse` is
    mean = jnp.sum(share * summed, axis=-1) * inverse
    share = share.astype(value.dtype)
    # A product that would read S x S by columns is twice as slow on a CPU, so its other side is
    # turned around, and stays so only behind a barrier.
    columns = (query.swapaxes(-1, -2), share.swapaxes(-1, -2))
    query_columns, share_columns = jax.lax.optimization_barrier(columns)  # type: ignore[no-untyped-call]
    of_queries = []
    of_keys = of_values = jnp.zeros_like(query_columns)
    for (first, end), exponentials in zip(query_spans(length), kept, strict=True):
        pulled = _product("bhqd,bhkd->bhqk", share[:, :, first:end], value[:, :, :end])
        scores = exponentials * (pulled - mean[:, :, first:end, None])
        scores = scores.astype(query.dtype)
        of_queries.append(scores @ key[:, :, :end])
        unseen = [(0, 0), (0, 0), (0, 0), (0, length - end)]
        of_keys += jnp.pad(query_columns[..., first:end] @ scores, unseen)
        of_values += jnp.pad(share_columns[..., first:end] @ exponentials, unseen)
    cosines, sines = rotary_table(np.arange(length), head_dim, rope_base)
    scale = head_dim**-0.5
    parts = (
        rotate(jnp.concatenate(of_queries, axis=2), scale * cosines, -scale * sines),
        rotate(of_keys.swapaxes(-1, -2), cosines, -sines),
        of_values.swapaxes(-1, -2),
    )
    return (jnp.stack(parts).transpose(1, 3, 0, 2, 4),)


def _product(axes: str, left: Array, right: Array) -> Array:
    """Returns an einsum whose sums are float32."""
    return jnp.einsum(axes, left, right, preferred_element_type=jnp.float32)


written_attention.defvjp(_attend, _attend_backward)
