"""The compiled program of one trial: initial state, training step, evaluation step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from flax import nnx

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import (
    Decoder,
    build_model,
    cross_entropy,
    next_token_loss,
)
from brainformer.model.initial import on_device
from brainformer.search.proxy.proxy import Proxy
from brainformer.worker.timing.clock import Clock
from brainformer.worker.training.compiler_options import COMPILER_OPTIONS
from brainformer.worker.training.evaluation_program import evaluation_in_pieces
from brainformer.worker.training.heap import clear_room, give_back, make_room
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


class Program(NamedTuple):
    """A trial's compiled functions.

    Attributes:
        shapes: Shapes and types of a state.
        initial: Returns a fresh initial state, always the same.
        step: (state, tokens [batch, length + 1], fraction of the budget) to (state, metrics).
        evaluate: (state, tokens [batch, length + 1]) to each token's loss [batch, length] in
            nats, under the causal rule of evaluation and export.
        decoder: Merges a state into the model.
        memory_bytes: What the training step needs by the compiler's own account.
        compile_seconds: From tracing to the loaded programs.
        step_compile_seconds: The part of it that ends with the training step.
        parameters: Number of trained values.
    """

    shapes: TrainingState
    initial: Callable[[], TrainingState]
    step: Callable[[TrainingState, Any, Any], tuple[TrainingState, StepMetrics]]
    evaluate: Callable[[TrainingState, Any], jax.Array]
    decoder: Callable[[TrainingState], Decoder]
    memory_bytes: int
    compile_seconds: float
    step_compile_seconds: float
    parameters: int


def compile_program(
    config: ModelConfig,
    proxy: Proxy,
    *,
    seed: int,
    clock: Clock,
    cache_folder: Path | None,
    whole_evaluation: bool = False,
) -> Program:
    """Traces, lowers and compiles the trial's functions; nothing is allocated for training yet.

    Args:
        config: The model's shapes.
        proxy: The optimiser and its learning rate.
        seed: Of the initial parameters.
        clock: Measures the compilation.
        cache_folder: Where compiled programs are kept between processes; a per-user folder,
            since what it holds is run.
        whole_evaluation: Whether the evaluation must be one program, as export makes it, so that
            its time is that of inference. On a CPU it otherwise comes in pieces; an accelerator
            would wait between them.
    """
    if cache_folder is not None:
        use_compilation_cache(cache_folder)
    start = clock.now()
    key = jax.random.key(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    abstract = nnx.eval_shape(lambda: build_model(config, key=key))
    graph, parameters, routing = _split(abstract)
    optimizer = build_optimizer(
        proxy,
        stacked_axes=stacked_axes(parameters, config),
        flatten=jax.default_backend() == "cpu",
    )
    shapes = TrainingState(parameters, jax.eval_shape(optimizer.init, parameters), routing)
    shape = (config.batch_size, config.sequence_length + 1)
    tokens, fraction = np.zeros(shape, np.int32), np.float32(0.0)
    options = COMPILER_OPTIONS.get(jax.default_backend())
    clear_room()
    step = jax.jit(_training_step(graph, optimizer, proxy), donate_argnums=0)
    compiled_step = step.lower(shapes, tokens, fraction).compile(options)
    memory: Any = compiled_step.memory_analysis()
    step_seconds = clock.now() - start
    evaluate: Callable[[TrainingState, Any], jax.Array]
    if whole_evaluation or config.scan or jax.default_backend() != "cpu":
        evaluate = jax.jit(_evaluation_step(graph)).lower(shapes, tokens).compile(options)
    else:
        evaluate = _evaluation_in_pieces(config, graph, shapes)

    def initial() -> TrainingState:
        on_cpu = jax.default_backend() == "cpu"
        if on_cpu:
            clear_room()
            give_back()  # what an earlier state and its steps leave
        _, fresh, rules = _split(build_model(config, key=key))
        state = TrainingState(fresh, optimizer.init(fresh), rules)
        if on_cpu:
            # A step whose inputs are still being copied runs on another thread, and so do all that
            # follow it at once: two of them may hold their temporaries.
            wait(state)
            on_device(np.zeros(1, np.float32))  # jax keeps a host array until the next transfer
            give_back()  # what drawing leaves in pieces: up to as much again
            make_room(int(memory.temp_size_in_bytes))
        return state

    def decoder(state: TrainingState) -> Decoder:
        merged: Decoder = nnx.merge(graph, state.parameters, state.routing, copy=True)
        return merged

    return Program(
        shapes=shapes,
        initial=initial,
        step=compiled_step,
        evaluate=evaluate,
        decoder=decoder,
        memory_bytes=_memory_bytes(memory),
        compile_seconds=clock.now() - start,
        step_compile_seconds=step_seconds,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(parameters)),
    )


def use_compilation_cache(folder: Path) -> None:
    """Keeps compiled programs in `folder` from now on."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)  # type: ignore[no-untyped-call]


def dispatch_in_order() -> None:
    """Has a CPU finish a program before the next is handed over; call before jax's first use.

    Otherwise up to three steps hold their temporaries at once: three times what the compiler's
    account says and a trial is refused by.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]


def stacked_axes(parameters: Tree, config: ModelConfig) -> Tree:
    """Returns, per parameter, how many leading axes stack alike matrices.

    Experts stack theirs on one leading axis, a scan over blocks adds another.
    """

    def count(path: tuple[Any, ...], leaf: Any) -> int:
        names = {str(getattr(part, "key", getattr(part, "name", ""))) for part in path}
        scanned = 1 if config.scan and "blocks" in names else 0
        return scanned + max(0, int(leaf.ndim) - scanned - 2)

    return jax.tree_util.tree_map_with_path(count, parameters)


def wait(values: Tree) -> None:
    """Returns when the values have been computed."""
    jax.block_until_ready(values)  # type: ignore[no-untyped-call]


def _split(model: Decoder) -> tuple[Any, Tree, Tree]:
    """Returns the model's structure, its parameters and everything else that it holds."""
    graph, *states = nnx.split(model, nnx.Param, ...)
    return graph, states[0], states[1]


def _training_step(
    graph: Any, optimizer: Optimizer, proxy: Proxy
) -> Callable[..., tuple[TrainingState, StepMetrics]]:
    def step(
        state: TrainingState, tokens: jax.Array, fraction: jax.Array
    ) -> tuple[TrainingState, StepMetrics]:
        def loss(parameters: Tree) -> tuple[jax.Array, tuple[Any, Tree]]:
            model = nnx.merge(graph, parameters, state.routing, copy=True)
            total, report = next_token_loss(model, tokens, training=True)
            _, _, routing = _split(model)
            return total, (report, routing)

        gradients, (report, routing) = jax.grad(loss, has_aux=True)(state.parameters)
        rate = learning_rate(
            fraction,
            peak=proxy.peak_learning_rate,
            warmup_fraction=proxy.warmup_fraction,
            schedule=proxy.schedule,
        )
        parameters, optimizer_state, norm = optimizer.update(
            gradients, state.optimizer_state, state.parameters, rate
        )
        metrics = StepMetrics(
            cross_entropy=report.cross_entropy,
            gradient_norm=norm,
            drop_fraction=report.drop_fraction,
            expert_load=report.expert_load,
        )
        return TrainingState(parameters, optimizer_state, routing), metrics

    return step


def _evaluation_step(graph: Any) -> Callable[[TrainingState, jax.Array], jax.Array]:
    def evaluate(state: TrainingState, tokens: jax.Array) -> jax.Array:
        model = nnx.merge(graph, state.parameters, state.routing, copy=True)
        logits, _ = model.flat_logits(tokens[:, :-1], training=False)
        return cross_entropy(logits, tokens[:, 1:].reshape(-1)).reshape(tokens.shape[0], -1)

    return evaluate


def _evaluation_in_pieces(
    config: ModelConfig, graph: Any, shapes: TrainingState
) -> Callable[[TrainingState, Any], jax.Array]:
    pieces = evaluation_in_pieces(config, graph, shapes.parameters, shapes.routing)
    return lambda state, tokens: pieces(state.parameters, state.routing, tokens)


def _memory_bytes(analysis: Any) -> int:
    if analysis is None:  # a backend that does not tell
        return 0
    return int(
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        + analysis.generated_code_size_in_bytes
        - analysis.alias_size_in_bytes
    )
