"""The compiled program of one trial: initial state, training step, evaluation step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import Decoder, Evaluation, build_model
from brainformer.model.initial import on_device
from brainformer.search.proxy.proxy import Proxy
from brainformer.worker.devices.compiler_options import (
    COMPILER_OPTIONS,
    use_compilation_cache,
)
from brainformer.worker.devices.placement import Placement
from brainformer.worker.timing.clock import Clock
from brainformer.worker.training.evaluation_program import evaluation_in_pieces
from brainformer.worker.training.heap import clear_room, give_back, make_room
from brainformer.worker.training.layout import (
    Layout,
    RateOf,
    StepMetrics,
    TrainingState,
    compile_step,
    evaluation_step,
    lay_out,
    split_model,
)
from brainformer.worker.training.optimizer import Optimizer

Tree: TypeAlias = Any


class Program(NamedTuple):
    """A trial's compiled functions.

    Attributes:
        shapes: Shapes and types of a state.
        initial: Returns a fresh initial state, always the same, born where it lies.
        step: (state, tokens [batch, length + 1], fraction of the budget) to (state, metrics).
        evaluate: (state, tokens [batch, length + 1]) to each token's loss [batch, length] in
            nats and what the routing did, under the causal rule of evaluation and export.
        decoder: Merges a state into the model.
        portable: A state as checkpoints keep it: the same whatever devices it lies on.
        portable_shapes: Shapes and types of that, and where each value lies.
        restored: A state of what checkpoints keep, where the program wants it.
        memory_bytes: What the training step needs of each device by the compiler's own account.
        compile_seconds: From tracing to the loaded programs.
        step_compile_seconds: The part of it that ends with the training step.
        parameters: Number of trained values.
        placement: The devices.
    """

    shapes: TrainingState
    initial: Callable[[], TrainingState]
    step: Callable[[TrainingState, Any, Any], tuple[TrainingState, StepMetrics]]
    evaluate: Callable[[TrainingState, Any], Evaluation]
    decoder: Callable[[TrainingState], Decoder]
    portable: Callable[[TrainingState], TrainingState]
    portable_shapes: TrainingState
    restored: Callable[[TrainingState], TrainingState]
    memory_bytes: int
    compile_seconds: float
    step_compile_seconds: float
    parameters: int
    placement: Placement


def compile_program(
    config: ModelConfig,
    proxy: Proxy,
    *,
    seed: int,
    clock: Clock,
    cache_folder: Path | None,
    placement: Placement | None = None,
    whole_evaluation: bool = False,
    rate_of: RateOf | None = None,
) -> Program:
    """Traces, lowers and compiles the trial's functions; nothing is allocated for training yet.

    Args:
        config: The model's shapes.
        proxy: The optimiser and its learning rate.
        seed: Of the initial parameters.
        clock: Measures the compilation.
        cache_folder: Where compiled programs are kept between processes; a per-user folder,
            since what it holds is run.
        placement: The devices; jax's default one where none are named.
        whole_evaluation: Whether the evaluation must be one program, as export makes it, so that
            its time is that of inference. On a CPU it otherwise comes in pieces; an accelerator
            would wait between them.
        rate_of: See `lay_out`.
    """
    placement = placement or Placement()
    if cache_folder is not None:
        use_compilation_cache(cache_folder)
    start = clock.now()
    key = jax.random.key(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    layout = lay_out(config, proxy, placement, rate_of=rate_of)
    graph, optimizer, shapes = layout.graph, layout.optimizer, layout.shapes
    clear_room()
    compiled_step = compile_step(layout, placement)
    memory: Any = compiled_step.memory_analysis()
    step_seconds = clock.now() - start
    evaluate: Callable[[TrainingState, Any], Evaluation]
    if whole_evaluation or config.scan or not placement.on_one_cpu:
        evaluate = _whole_evaluation(layout, placement)
    else:
        evaluate = _evaluation_in_pieces(config, graph, shapes)

    def fresh() -> TrainingState:
        _, parameters, rules = split_model(build_model(config, key=key))
        return TrainingState(parameters, optimizer.init(parameters), rules)

    def portable(state: TrainingState) -> TrainingState:
        if placement.mesh is None:
            state = jax.tree.map(np.asarray, state)
        return state._replace(
            optimizer_state=optimizer.apart(state.optimizer_state, state.parameters)
        )

    def restored(saved: TrainingState) -> TrainingState:
        if placement.mesh is not None:
            return saved  # read to where it lies, and never flattened
        whole = optimizer.together(saved.optimizer_state, saved.parameters)
        state: TrainingState = jax.tree.map(jnp.array, saved._replace(optimizer_state=whole))
        return state

    def decoder(state: TrainingState) -> Decoder:
        merged: Decoder = nnx.merge(graph, state.parameters, state.routing, copy=True)
        return merged

    return Program(
        shapes=shapes,
        initial=_initial(fresh, shapes, placement, room_bytes=int(memory.temp_size_in_bytes)),
        step=_fed(compiled_step, placement),
        evaluate=evaluate,
        decoder=decoder,
        portable=portable,
        portable_shapes=portable_shapes(shapes, optimizer),
        restored=restored,
        memory_bytes=memory_bytes_of(memory),
        compile_seconds=clock.now() - start,
        step_compile_seconds=step_seconds,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(shapes.parameters)),
        placement=placement,
    )


def portable_shapes(shapes: TrainingState, optimizer: Optimizer) -> TrainingState:
    """Returns the shapes of a state as checkpoints keep it."""
    if not isinstance(shapes.optimizer_state, list):
        states = jax.eval_shape(
            lambda state: optimizer.apart(state, shapes.parameters), shapes.optimizer_state
        )
        return shapes._replace(optimizer_state=states)
    return shapes


def _initial(
    fresh: Callable[[], TrainingState],
    shapes: TrainingState,
    placement: Placement,
    *,
    room_bytes: int,
) -> Callable[[], TrainingState]:
    """Returns what makes the initial state where it lies, never whole on one of several devices."""
    if placement.mesh is not None:
        where = jax.tree.map(lambda one: one.sharding, shapes)
        with placement.tracing():
            born = jax.jit(fresh, out_shardings=where).lower().compile()
        return lambda: born()
    if placement.platform != "cpu":
        return fresh

    def initial() -> TrainingState:
        clear_room()
        give_back()  # what an earlier state and its steps leave
        state = fresh()
        # A step whose inputs are still being copied runs on another thread, and so do all that
        # follow it at once: two of them may hold their temporaries.
        wait(state)
        on_device(np.zeros(1, np.float32))  # jax keeps a host array until the next transfer
        give_back()  # what drawing leaves in pieces: up to as much again
        make_room(room_bytes)
        return state

    return initial


def wait(values: Tree) -> None:
    """Returns when the values have been computed."""
    jax.block_until_ready(values)  # type: ignore[no-untyped-call]


def _whole_evaluation(
    layout: Layout, placement: Placement
) -> Callable[[TrainingState, Any], Evaluation]:
    """Returns the evaluation as one program; every device gets all losses."""
    evaluate = jax.jit(evaluation_step(layout.graph), out_shardings=placement.everywhere)
    with placement.tracing():
        lowered = evaluate.lower(layout.shapes, layout.tokens)
        compiled = lowered.compile(COMPILER_OPTIONS.get(placement.platform))
    fed: Callable[[TrainingState, Any], Evaluation] = _fed(compiled, placement)
    return fed


def _fed(compiled: Any, placement: Placement) -> Any:
    """Returns the program, which on a mesh takes batches and numbers from the host."""
    if placement.mesh is None:
        return compiled

    def run(state: TrainingState, tokens: np.ndarray, *numbers: np.float32) -> Any:
        placed = map(placement.scalar, numbers)
        return compiled(state, placement.batch(np.asarray(tokens)), *placed)

    return run


def _evaluation_in_pieces(
    config: ModelConfig, graph: Any, shapes: TrainingState
) -> Callable[[TrainingState, Any], Evaluation]:
    pieces = evaluation_in_pieces(config, graph, shapes.parameters, shapes.routing)
    return lambda state, tokens: pieces(state.parameters, state.routing, tokens)


def memory_bytes_of(analysis: Any) -> int:
    """Returns what a program needs of each device: arguments, results, temporaries, code."""
    if analysis is None:  # a backend that does not tell
        return 0
    return int(
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        + analysis.generated_code_size_in_bytes
        - analysis.alias_size_in_bytes
    )
