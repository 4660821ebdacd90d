"""The functions of one trial before they are compiled, and the shapes that they are compiled for.

Nothing here needs the devices to be there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from flax import nnx

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import (
    Decoder,
    Evaluation,
    build_model,
    evaluation,
    next_token_loss,
)
from brainformer.search.proxy.proxy import Proxy
from brainformer.worker.devices.compiler_options import COMPILER_OPTIONS
from brainformer.worker.devices.placement import Placement, shaped
from brainformer.worker.training.optimizer import Optimizer, build_optimizer, learning_rate

Tree: TypeAlias = Any


class TrainingState(NamedTuple):
    """Everything that a training step changes; its buffers are donated to the next step."""

    parameters: Tree
    optimizer_state: Tree
    routing: Tree


class StepMetrics(NamedTuple):
    """Scalars of one step, and the share of tokens that each expert took."""

    cross_entropy: jax.Array
    gradient_norm: jax.Array
    drop_fraction: jax.Array
    expert_load: jax.Array


class Layout(NamedTuple):
    """A trial's functions before they are compiled.

    Attributes:
        graph: The model's structure.
        optimizer: The proxy's.
        shapes: Of a state, with where each value lies.
        step: As in `Program`.
        tokens: The shape of a batch.
        fraction: The shape of the fraction of the budget.
    """

    graph: Any
    optimizer: Optimizer
    shapes: TrainingState
    step: Callable[..., tuple[TrainingState, StepMetrics]]
    tokens: jax.ShapeDtypeStruct
    fraction: jax.ShapeDtypeStruct


RateOf: TypeAlias = Callable[[jax.Array], jax.Array]


def lay_out(
    config: ModelConfig, proxy: Proxy, placement: Placement, *, rate_of: RateOf | None = None
) -> Layout:
    """Returns what would be compiled: nothing is, and the devices need not be there.

    Args:
        config: The model's shapes.
        proxy: The optimiser and its learning rate.
        placement: The devices.
        rate_of: The step's third argument to the learning rate; by default that argument is the
            fraction of the budget, and the proxy has the schedule.
    """
    abstract = nnx.eval_shape(lambda: build_model(config, key=jax.random.key(0)))
    graph, parameters, routing = split_model(abstract)
    depths = stacked_axes(parameters, config)
    optimizer = build_optimizer(proxy, stacked_axes=depths, flatten=placement.on_one_cpu)
    state = jax.eval_shape(optimizer.init, parameters)
    where = placement.variables(parameters, config)
    shapes = TrainingState(
        placement.shaped(parameters, where),
        placement.shaped(state, placement.beside(state, parameters, where, depths)),
        placement.shaped(routing, placement.variables(routing, config)),
    )
    batch = (config.batch_size, config.sequence_length + 1)
    return Layout(
        graph=graph,
        optimizer=optimizer,
        shapes=shapes,
        step=_training_step(graph, optimizer, rate_of or _proxy_schedule(proxy)),
        tokens=shaped(batch, np.int32, placement.rows),
        fraction=shaped((), np.float32, placement.everywhere),
    )


def compile_step(layout: Layout, placement: Placement) -> Any:
    """Returns the compiled training step; its state's buffers are donated."""
    outputs = None
    if placement.mesh is not None:
        where = jax.tree.map(lambda one: one.sharding, layout.shapes)
        outputs = (where, placement.everywhere)
    elsewhere = placement.platform != jax.default_backend()
    with placement.tracing():
        step = jax.jit(layout.step, donate_argnums=0, out_shardings=outputs)
        traced = step.trace(layout.shapes, layout.tokens, layout.fraction)
        lowered = traced.lower(lowering_platforms=(placement.platform,) if elsewhere else None)
        return lowered.compile(COMPILER_OPTIONS.get(placement.platform))


def evaluation_step(graph: Any) -> Callable[[TrainingState, jax.Array], Evaluation]:
    """Returns (state, tokens) to what they look like under the causal rule."""

    def evaluate(state: TrainingState, tokens: jax.Array) -> Evaluation:
        model = nnx.merge(graph, state.parameters, state.routing, copy=True)
        return evaluation(model, tokens)

    return evaluate


def split_model(model: Decoder) -> tuple[Any, Tree, Tree]:
    """Returns the model's structure, its parameters and everything else that it holds."""
    graph, *states = nnx.split(model, nnx.Param, ...)
    return graph, states[0], states[1]


def _proxy_schedule(proxy: Proxy) -> RateOf:
    def rate(fraction: jax.Array) -> jax.Array:
        return learning_rate(
            fraction,
            peak=proxy.peak_learning_rate,
            warmup_fraction=proxy.warmup_fraction,
            schedule=proxy.schedule,
        )

    return rate


def _training_step(
    graph: Any, optimizer: Optimizer, rate_of: RateOf
) -> Callable[..., tuple[TrainingState, StepMetrics]]:
    def step(
        state: TrainingState, tokens: jax.Array, fraction: jax.Array
    ) -> tuple[TrainingState, StepMetrics]:
        def loss(parameters: Tree) -> tuple[jax.Array, tuple[Any, Tree]]:
            model = nnx.merge(graph, parameters, state.routing, copy=True)
            total, report = next_token_loss(model, tokens, training=True)
            _, _, routing = split_model(model)
            return total, (report, routing)

        gradients, (report, routing) = jax.grad(loss, has_aux=True)(state.parameters)
        parameters, optimizer_state, norm = optimizer.update(
            gradients, state.optimizer_state, state.parameters, rate_of(fraction)
        )
        metrics = StepMetrics(
            cross_entropy=report.cross_entropy,
            gradient_norm=norm,
            drop_fraction=report.drop_fraction,
            expert_load=report.expert_load,
        )
        return TrainingState(parameters, optimizer_state, routing), metrics

    return step


def stacked_axes(parameters: Tree, config: ModelConfig) -> Tree:
    """Returns, per parameter, how many leading axes stack alike matrices.

    Experts stack theirs on one leading axis, a scan over blocks adds another.
    """

    def count(path: tuple[Any, ...], leaf: Any) -> int:
        names = {str(getattr(part, "key", getattr(part, "name", ""))) for part in path}
        scanned = 1 if config.scan and "blocks" in names else 0
        return scanned + max(0, int(leaf.ndim) - scanned - 2)

    return jax.tree_util.tree_map_with_path(count, parameters)
