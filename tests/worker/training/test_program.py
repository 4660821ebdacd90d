"""The compiled program of a trial: its memory, and what makes it cheap to compile."""

from __future__ import annotations

from contextlib import contextmanager

import jax
import numpy as np
import pytest

from brainformer.model.config import ModelConfig
from brainformer.search.cost.cost import memory_bytes
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.worker.devices.compiler_options import SMALL_PROGRAM_OPTIONS
from brainformer.worker.timing.clock import SystemClock
from brainformer.worker.training import evaluation_program
from brainformer.worker.training.evaluation_program import forget_pieces
from brainformer.worker.training.program import compile_program

NANO = load_proxy("nano")


def compiled(name, **changes):
    genome = zoo_genome(name, load_preset("nano"))
    proxy = NANO.model_copy(update=changes)
    config = ModelConfig.of_proxy(genome, proxy, platform="cpu")
    program = compile_program(config, proxy, seed=0, clock=SystemClock(), cache_folder=None)
    return genome, proxy, program


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("glam", {"blocks": 1}),
        ("brainformer_1_approximation", {"blocks": 1, "sequence_length": 128}),
        pytest.param("primer", {}, marks=pytest.mark.slow),
        pytest.param("glam", {"sequence_length": 128, "batch_size": 32}, marks=pytest.mark.slow),
    ],
)
def test_memory_estimate_is_within_15_percent_of_the_compiled_step(name, changes):
    genome, proxy, program = compiled(name, **changes)

    assert memory_bytes(genome, proxy) == pytest.approx(program.memory_bytes, rel=0.15)


def test_step_changes_every_parameter_and_is_the_same_again():
    _, proxy, program = compiled("brainformer_1_approximation", blocks=1)
    tokens = np.random.default_rng(0).integers(
        0, proxy.vocab_size, (proxy.batch_size, proxy.sequence_length + 1), dtype=np.int32
    )
    runs = []
    for _ in range(2):
        state = program.initial()
        for _ in range(2):
            state, metrics = program.step(state, tokens, np.float32(0.5))
        runs.append((float(metrics.cross_entropy), np.asarray(state.parameters["embedding"][...])))
    first = program.initial().parameters["embedding"][...]

    assert runs[0][0] == runs[1][0]
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert not np.array_equal(runs[0][1], first)


def compiled_genome(genome, **options):
    config = ModelConfig.of_proxy(genome, NANO, platform="cpu")
    return compile_program(config, NANO, seed=0, clock=SystemClock(), cache_folder=None, **options)


@contextmanager
def programs_compiled():
    """Collects the names of the programs that are compiled meanwhile."""
    names = []

    def listen(event, _seconds, **about):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(about["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.slow
def test_an_evaluation_in_pieces_gives_the_losses_of_the_whole_bit_for_bit():
    genome = load_preset("nano").sample(rng=np.random.default_rng(2))
    pieces, whole = compiled_genome(genome), compiled_genome(genome, whole_evaluation=True)
    tokens = np.random.default_rng(0).integers(
        0, NANO.vocab_size, (NANO.batch_size, NANO.sequence_length + 1), dtype=np.int32
    )
    state, _ = pieces.step(pieces.initial(), tokens, np.float32(0.1))
    one, other = pieces.evaluate(state, tokens), whole.evaluate(state, tokens)
    np.testing.assert_array_equal(one.losses, other.losses)
    np.testing.assert_allclose(one[1:], other[1:], rtol=1e-5)


@pytest.mark.slow
def test_an_evaluation_compiles_where_xla_no_longer_knows_an_option(monkeypatch):
    unknown = {**SMALL_PROGRAM_OPTIONS, "xla_cpu_option_of_another_release": True}
    monkeypatch.setattr(evaluation_program, "SMALL_PROGRAM_OPTIONS", unknown)
    forget_pieces()
    _, proxy, program = compiled("dense_transformer", blocks=1)
    tokens = np.zeros((proxy.batch_size, proxy.sequence_length + 1), np.int32)

    assert np.isfinite(program.evaluate(program.initial(), tokens).losses).all()


@pytest.mark.slow
def test_a_child_s_evaluation_compiles_only_the_sub_layer_that_is_new():
    forget_pieces()
    parent = zoo_genome("glam", load_preset("nano"))
    new = parent.layers[0].model_copy(update={"heads": 3})
    assert new not in parent.layers
    child = Genome(model_dim=parent.model_dim, layers=(*parent.layers, new))
    with programs_compiled() as first:
        compiled_genome(parent)
    with programs_compiled() as second:
        compiled_genome(child)
    assert first.count("jit(evaluate_branch)") == len(set(parent.layers))
    assert second.count("jit(evaluate_branch)") == 1


@pytest.mark.slow
def test_experts_of_another_capacity_are_evaluated_by_the_same_program():
    forget_pieces()
    parent = zoo_genome("brainformer_1_approximation", load_preset("nano"))
    layers = [
        layer.model_copy(update={"capacity_factor": 3}) if layer.kind == "moe" else layer
        for layer in parent.layers
    ]
    child = parent.model_copy(update={"layers": tuple(layers)})
    compiled_genome(parent)
    with programs_compiled() as programs:
        pieces, whole = compiled_genome(child), compiled_genome(child, whole_evaluation=True)
    assert programs.count("jit(evaluate_branch)") == 0
    tokens = np.random.default_rng(0).integers(
        0, NANO.vocab_size, (NANO.batch_size, NANO.sequence_length + 1), dtype=np.int32
    )
    state, _ = pieces.step(pieces.initial(), tokens, np.float32(0.1))
    one, other = pieces.evaluate(state, tokens), whole.evaluate(state, tokens)
    np.testing.assert_array_equal(one.losses, other.losses)
    np.testing.assert_allclose(one[1:], other[1:], rtol=1e-5)
