"""Generation with a key-value cache, whose logits equal the full forward pass.

All rows stand at the same position; a row whose prompt is longer is fed its own tokens while
others already sample. No row is padded on the left and none sees another, so neither padding nor
batch-mates change what a row says.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from brainformer.model.attention import AttentionLayer
from brainformer.model.block import Block
from brainformer.model.decoder import Decoder
from brainformer.model.rotary import rotary_table, rotate
from brainformer.search.errors import InvalidGenome


class AttentionCache(NamedTuple):
    """What one attention sub-layer remembers of the past.

    Attributes:
        keys: Rotated keys.
        values: Values.
        recent: Projections of the last positions, for the depthwise convolution.
    """

    keys: Float[Array, "B S H D"]
    values: Float[Array, "B S H D"]
    recent: Float[Array, "B W 3HD"]


Cache = list[AttentionCache]


def generate(
    model: Decoder,
    prompts: Int[Array, "B P"],
    *,
    steps: int,
    lengths: Int[Array, " B"] | None = None,
    temperature: float = 0.0,
    key: Array | None = None,
) -> Int[Array, "B P+N"]:
    """Returns each prompt followed by new tokens, up to P + `steps` tokens in all.

    Args:
        model: A model with a causal routing rule.
        prompts: Token ids; what stands after a row's length is ignored.
        steps: Tokens to add to the longest prompt.
        lengths: Tokens of each prompt; all P where left out.
        temperature: 0 takes the likeliest token.
        key: Draws tokens where the temperature is above 0.

    Raises:
        InvalidGenome: the model follows the paper's leaking rule, which cannot generate.
    """
    batch, width = prompts.shape
    lengths = jnp.full((batch,), width) if lengths is None else lengths
    forced = jnp.pad(prompts, ((0, 0), (0, steps)))
    graph, state = causal_split(model)
    key = jax.random.key(0) if key is None else key
    tokens: Array = _generate(graph, state, forced, lengths, jnp.float32(temperature), key)
    return tokens


def cached_logits(model: Decoder, tokens: Int[Array, "B S"]) -> Float[Array, "B S V"]:
    """Returns the logits of given tokens, one position at a time through the cache.

    Raises:
        InvalidGenome: the model follows the paper's leaking rule.
    """
    graph, state = causal_split(model)
    logits: Array = _cached_logits(graph, state, tokens)
    return logits


def empty_cache(model: Decoder, *, batch: int, length: int) -> Cache:
    """Returns a cache for `length` positions of `batch` rows, nothing in it yet."""
    config = model.config
    dtype = jnp.dtype(config.compute_dtype)
    caches = []
    for layer in list(config.genome.layers) * config.blocks:
        if layer.kind != "attention":
            continue
        past = jnp.zeros((batch, length, layer.heads, config.head_dim), dtype)
        recent = (batch, max(0, layer.conv_width - 1), 3 * layer.heads * config.head_dim)
        caches.append(AttentionCache(past, past, jnp.zeros(recent, dtype)))
    return caches


def decode(
    model: Decoder, tokens: Int[Array, " B"], position: Int[Array, ""], cache: Cache
) -> tuple[Float[Array, "B V"], Cache]:
    """Returns the logits after one more token a row, and the cache that includes it."""
    dtype = jnp.dtype(model.config.compute_dtype)
    x = model.embedding[...][tokens].astype(dtype)
    past, batch = iter(cache), tokens.shape[0]
    after = []
    for block in _blocks(model):
        for layer in block.layers:
            branch = x if layer.post else layer.norm(x)
            if layer.kind == "attention":
                branch, memory = _attend(layer.inner, branch, position, next(past))
                after.append(memory)
            elif layer.kind == "moe":
                branch, _ = layer.inner(branch, batch=batch, training=False)
            else:
                branch = layer.inner(branch)
            x = layer.norm(x + branch) if layer.post else x + branch
    return model.unembed(x), after


def _attend(
    layer: AttentionLayer, x: Float[Array, "B d"], position: Int[Array, ""], cache: AttentionCache
) -> tuple[Float[Array, "B d"], AttentionCache]:
    """Returns attention of one new position over the cached ones, and the longer cache."""
    batch, (heads, dim) = x.shape[0], cache.keys.shape[2:]
    projected = jnp.matmul(x, layer.qkv[...].astype(x.dtype))[:, None]
    recent = jnp.concatenate([cache.recent, projected], axis=1)
    if layer.conv_width:
        kernel = layer.kernel[...].astype(x.dtype)
        projected = jnp.sum(recent * kernel, axis=1, keepdims=True)
    query, key, value = jnp.moveaxis(projected.reshape(batch, 1, 3, heads, dim), 2, 0)
    cosines, sines = rotary_table(position[None], dim, layer.rope_base)
    query, key = (rotate(t, cosines[None], sines[None]) for t in (query, key))
    keys = jax.lax.dynamic_update_slice_in_dim(cache.keys, key, position, axis=1)
    values = jax.lax.dynamic_update_slice_in_dim(cache.values, value, position, axis=1)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, keys, preferred_element_type=jnp.float32)
    seen = jnp.arange(keys.shape[1]) <= position
    weights = jax.nn.softmax(jnp.where(seen, scores * dim**-0.5, -jnp.inf), axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights.astype(x.dtype), values)
    out = jnp.matmul(mixed.reshape(batch, -1), layer.out[...].astype(x.dtype))
    return out, AttentionCache(keys, values, recent[:, 1:] if layer.conv_width else cache.recent)


def _blocks(model: Decoder) -> Iterator[Block]:
    if not model.config.scan:
        yield from model.blocks
        return
    graph, state = nnx.split(model.blocks)
    for index in range(model.config.blocks):
        yield nnx.merge(graph, jax.tree.map(lambda leaf, i=index: leaf[i], state))


def causal_split(model: Decoder) -> tuple[Any, Any]:
    """Returns the structure and the values of a model that can generate.

    Raises:
        InvalidGenome: the model follows the paper's leaking rule.
    """
    if model.config.routing != "causal":
        rule = "generation needs `routing: causal`; the paper's rule looks at later tokens"
        raise InvalidGenome(rule, model.config.routing, "/routing")
    return nnx.split(model)


@partial(jax.jit, static_argnums=0)
def _generate(
    graph: Any, state: Any, forced: Array, lengths: Array, temperature: Array, key: Array
) -> Array:
    model: Decoder = nnx.merge(graph, state)
    batch, total = forced.shape

    def step(carry: tuple[Array, Cache], position: Array) -> tuple[tuple[Array, Cache], Array]:
        tokens, cache = carry
        logits, cache = decode(model, tokens, position, cache)
        warm = logits / jnp.maximum(temperature, 1e-6)
        drawn = jax.random.categorical(jax.random.fold_in(key, position), warm)
        chosen = jnp.where(temperature > 0, drawn, jnp.argmax(logits, axis=-1))
        given = jax.lax.dynamic_index_in_dim(forced, position + 1, axis=1, keepdims=False)
        tokens = jnp.where(position + 1 < lengths, given, chosen).astype(forced.dtype)
        return (tokens, cache), tokens

    start = (forced[:, 0], empty_cache(model, batch=batch, length=total))
    _, rest = jax.lax.scan(step, start, jnp.arange(total - 1))
    return jnp.concatenate([forced[:, :1], rest.T], axis=1)


@partial(jax.jit, static_argnums=0)
def _cached_logits(graph: Any, state: Any, tokens: Array) -> Array:
    model: Decoder = nnx.merge(graph, state)
    batch, length = tokens.shape

    def step(cache: Cache, inputs: tuple[Array, Array]) -> tuple[Cache, Array]:
        position, current = inputs
        logits, cache = decode(model, current, position, cache)
        return cache, logits

    cache = empty_cache(model, batch=batch, length=length)
    _, logits = jax.lax.scan(step, cache, (jnp.arange(length), tokens.T))
    return logits.transpose(1, 0, 2)
