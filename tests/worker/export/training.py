"""A model that was trained for a moment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from brainformer.model.config import ModelConfig
from brainformer.search.export.provenance import Provenance
from brainformer.worker.export.weighted_model import WeightedModel, weighted
from brainformer.worker.timing.clock import SystemClock
from brainformer.worker.training.program import compile_program
from tests.worker.export.models import PROXY, block

STEPS = 60


def trained(name: str = "expert choice", steps: int = STEPS) -> WeightedModel:
    """Returns a block after some steps on a module's source: its thresholds have moved."""
    genome = block(name)
    config = ModelConfig.of_proxy(genome, PROXY, platform="cpu")
    program = compile_program(config, PROXY, seed=0, clock=SystemClock(), cache_folder=None)
    text = np.frombuffer(Path(json.__file__).read_bytes(), np.uint8).astype(np.int32)
    state, rng, length = program.initial(), np.random.default_rng(0), PROXY.sequence_length + 1
    for step in range(steps):
        starts = rng.integers(0, len(text) - length, PROXY.batch_size)
        tokens = text[starts[:, None] + np.arange(length)]
        state, _ = program.step(state, tokens, np.float32(step / steps))
    told = Provenance(
        origin="trained",
        search_name="small",
        trial_number=1,
        tokenizer="bytes",
        seed=0,
        steps=steps,
        tokens=steps * PROXY.batch_size * PROXY.sequence_length,
    )
    return weighted(genome, PROXY, state.parameters, state.routing, provenance=told)
