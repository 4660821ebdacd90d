"""The compiled program of a trial: its memory, and what makes it cheap to compile."""

from __future__ import annotations

import numpy as np
import pytest

from model.config import ModelConfig
from search.cost import memory_bytes
from search.proxies import load_proxy
from search.space import load_preset
from search.zoo import zoo_genome
from worker.clock import SystemClock
from worker.program import compile_program

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
