"""The evaluation in pieces: a small program for each kind of sub-layer, shared by genomes.

Compiled as a whole, an evaluation serves one genome, and takes longer to compile than to run for a
whole trial. What a sub-layer does in evaluation depends on itself and the proxy alone, so its
program serves every block and every genome that has one like it: of a mutated child's sub-layers,
all but one are its parent's. The losses are the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from brainformer.model.block import Block
from brainformer.model.config import ModelConfig
from brainformer.model.decoder import Evaluation, build_model, cross_entropy
from brainformer.search.space.genome import Attention, Genome, MoE
from brainformer.worker.devices.compiler_options import COMPILER_OPTIONS, SMALL_PROGRAM_OPTIONS

Tree: TypeAlias = Any
Piece: TypeAlias = Callable[..., Any]


class _Ends(NamedTuple):
    """What lies before the first block and after the last.

    Attributes:
        embed: (values, tokens) to the residual stream.
        losses: (values, residual stream, tokens) to each token's loss.
    """

    embed: Piece
    losses: Piece


def evaluation_in_pieces(
    config: ModelConfig, graph: Any, parameters: Tree, routing: Tree
) -> Callable[[Tree, Tree, Any], Evaluation]:
    """Returns (parameters, routing, tokens [batch, length + 1]) to losses [batch, length] and more.

    Args:
        config: The model's shapes; its blocks are unrolled.
        graph: The model's structure.
        parameters: Their shapes, as the structure has them.
        routing: Everything else that the model holds, alike.
    """
    leaves, structure = jax.tree.flatten((parameters, routing))
    model = nnx.merge(graph, *jax.tree.unflatten(structure, list(range(len(leaves)))))
    branches = [
        (_branch(_with_one_layer(config, index)), _numbers(layer))
        for block in model.blocks
        for index, layer in enumerate(block.layers)
    ]
    model.blocks = nnx.List([])
    ends, outer = _ends(_without_blocks(config)), _numbers(model)

    def evaluate(parameters: Tree, routing: Tree, tokens: Any) -> Evaluation:
        values = jax.tree.leaves((parameters, routing))
        own = [values[number] for number in outer]
        x = ends.embed(own, tokens)
        routed = []
        for branch, numbers in branches:
            x, figures = branch([values[number] for number in numbers], x)
            if figures is not None:
                routed.append(figures)
        drops, experts = _means(routed)
        return Evaluation(ends.losses(own, x, tokens), drops, experts)

    return evaluate


def forget_pieces() -> None:
    """Lets go of the programs; what is asked for again comes from the compilation cache on disk."""
    _branch.cache_clear()
    _ends.cache_clear()


def _numbers(module: Any) -> list[int]:
    """Returns which of the model's values are the module's, in its own order."""
    return [int(number) for number in jax.tree.leaves(nnx.state(module))]


def _with_one_layer(config: ModelConfig, index: int) -> ModelConfig:
    """Returns all that a sub-layer's program depends on, the same in every genome."""
    layer = config.genome.layers[index]
    if isinstance(layer, MoE) and config.routing == "causal":
        layer = layer.model_copy(update={"capacity_factor": 1})  # it counts in training alone
    alone = Genome(model_dim=config.genome.model_dim, layers=(layer,))
    return replace(config, genome=alone, blocks=1)


def _without_blocks(config: ModelConfig) -> ModelConfig:
    """Returns the config of what is around the blocks, the same for all of one width."""
    unused = Genome(model_dim=config.genome.model_dim, layers=(Attention(heads=1),))
    return replace(config, genome=unused, blocks=0)


@cache
def _branch(config: ModelConfig) -> Piece:
    """Returns the program of a block's only sub-layer."""
    shapes, merged = _abstract(lambda: Block(config, rngs=nnx.Rngs(0)).layers[0])

    def evaluate_branch(values: list[jax.Array], x: jax.Array) -> tuple[jax.Array, Any]:
        after, report = merged(values)(x, batch=config.batch_size, training=False)
        if report is None:
            return after, None
        return after, jnp.stack([report.drop_fraction, report.experts_per_token])

    return _compiled(evaluate_branch, shapes, _stream(config))


@cache
def _ends(config: ModelConfig) -> _Ends:
    """Returns the programs around a model's blocks."""
    shapes, merged = _abstract(lambda: build_model(config, key=jax.random.key(0)))
    tokens = _shaped((config.batch_size, config.sequence_length + 1), "int32")

    def evaluate_embedding(values: list[jax.Array], tokens: jax.Array) -> jax.Array:
        x: jax.Array = merged(values).embed(tokens[:, :-1])
        return x

    def evaluate_losses(values: list[jax.Array], x: jax.Array, tokens: jax.Array) -> jax.Array:
        logits = merged(values).unembed(x)
        return cross_entropy(logits, tokens[:, 1:].reshape(-1)).reshape(tokens.shape[0], -1)

    return _Ends(
        embed=_compiled(evaluate_embedding, shapes, tokens),
        losses=_compiled(evaluate_losses, shapes, _stream(config), tokens),
    )


def _abstract(make: Callable[[], Any]) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Returns the shapes of a module's values, and what makes it of such values."""
    graph, state = nnx.split(nnx.eval_shape(make))
    shapes, structure = jax.tree.flatten(state)

    def merged(values: list[Any]) -> Any:
        return nnx.merge(graph, jax.tree.unflatten(structure, values))

    return shapes, merged


def _stream(config: ModelConfig) -> jax.ShapeDtypeStruct:
    """Returns the shape of the residual stream."""
    shape = (config.batch_size * config.sequence_length, config.genome.model_dim)
    return _shaped(shape, config.compute_dtype)


def _shaped(shape: tuple[int, ...], dtype: str) -> jax.ShapeDtypeStruct:
    struct: jax.ShapeDtypeStruct = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))  # type: ignore[no-untyped-call]
    return struct


def _means(routed: list[jax.Array]) -> Any:
    """Returns the means over sub-layers of what was dropped, and of experts a token."""
    return np.mean([np.asarray(one) for one in routed], axis=0) if routed else np.zeros(2)


def _compiled(function: Callable[..., Any], *shapes: Any) -> Piece:
    lowered = jax.jit(function).lower(*shapes)
    try:
        return lowered.compile(SMALL_PROGRAM_OPTIONS)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return lowered.compile(COMPILER_OPTIONS["cpu"])  # jax 0.11 has one kind of emitters
