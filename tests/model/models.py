"""Small models that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from brainformer.model.config import ModelConfig
from brainformer.search.space.genome import parse_genome

ATTENTION = {"kind": "attention", "heads": 2}
FEED_FORWARD = {"kind": "feed_forward", "hidden_dim": 24, "activation": "gated_gelu"}


def moe(gating: str, capacity_factor: float = 1, activation: str = "gelu") -> dict[str, Any]:
    return {
        "kind": "moe",
        "hidden_dim": 24,
        "activation": activation,
        "gating": gating,
        "capacity_factor": capacity_factor,
    }


def small_config(*layers: dict[str, Any], **changes: Any) -> ModelConfig:
    genome = parse_genome({"model_dim": 16, "layers": list(layers)})
    shapes = {
        "blocks": 2,
        "experts": 4,
        "head_dim": 8,
        "rope_base": 50.0,
        "vocab_size": 16,
        "sequence_length": 12,
        "batch_size": 8,
    }
    return ModelConfig(genome=genome, **(shapes | changes))


def random_tokens(config: ModelConfig, *, seed: int = 0, extra: int = 0) -> jax.Array:
    shape = (config.batch_size, config.sequence_length + extra)
    return jax.random.randint(jax.random.key(seed), shape, 0, config.vocab_size, jnp.int32)
