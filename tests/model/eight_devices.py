"""Run in a process with eight devices: each case's deviation from one device, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import build_model, next_token_loss, split_parameters
from brainformer.model.sharding import (
    batch_sharding,
    make_mesh,
    model_shardings,
    sharded_model,
)
from tests.model.models import (
    ATTENTION,
    FEED_FORWARD,
    moe,
    random_tokens,
    small_config,
)

WIDE = {**ATTENTION, "heads": 4}
BLOCK = [WIDE, moe("expert_choice"), FEED_FORWARD, moe("top_2", 1)]
LAYERS: dict[str, list[dict[str, Any]]] = {
    "attention": [WIDE],
    "attention_conv": [{**WIDE, "conv_width": 3}],
    "feed_forward": [FEED_FORWARD],
    "low_rank": [{**FEED_FORWARD, "rank": 4}],
    "layer_norm_post": [{**FEED_FORWARD, "norm": "layer_norm", "norm_position": "post"}],
    "expert_choice": [moe("expert_choice")],
    "expert_choice_gated": [moe("expert_choice", 2, "gated_gelu")],
    "top_1": [moe("top_1", 1)],
    "top_2": [moe("top_2", 2, "gated_relu")],
    "top_2_dropless": [moe("top_2", 0)],
    "block": BLOCK,
    "scanned": BLOCK,
    "rematerialised": BLOCK,
}
MESHES = {
    "data": {"data": 8},
    "expert": {"expert": 4, "data": 2},
    "all": {"data": 2, "expert": 2, "model": 2},
}


def config_of(name: str, groups: int) -> ModelConfig:
    changes = {"scan": name == "scanned", "remat": name == "rematerialised"}
    return small_config(*LAYERS[name], batch_size=64, expert_groups=groups, **changes)


def loss_and_gradients(graph: Any, parameters: Any, routing: Any, tokens: Any) -> Any:
    def loss(parameters: Any) -> Any:
        model = nnx.merge(graph, parameters, routing)
        total, report = next_token_loss(model, tokens, training=True)
        return total, (report, split_parameters(model)[2])

    return jax.value_and_grad(loss, has_aux=True)(parameters)


def deviation(name: str, mesh_name: str, groups: int) -> float:
    """Returns the largest difference of loss, report, cut-offs and gradients, in their spread."""
    sizes = MESHES[mesh_name]
    config = config_of(name, groups)
    model = build_model(config, key=jax.random.key(0))
    tokens = random_tokens(config, extra=1)
    graph, *state = split_parameters(model)
    step = jax.jit(loss_and_gradients, static_argnums=0)
    alone = step(graph, *state, tokens)
    mesh = make_mesh(**sizes)
    with jax.set_mesh(mesh):
        spread = nnx.merge(graph, *state)
        placed = jax.device_put(nnx.state(spread), model_shardings(config, mesh))
        nnx.update(spread, placed)
        graph, *state = split_parameters(spread)
        together = step(graph, *state, jax.device_put(tokens, batch_sharding(mesh)))
    return worst(alone, together)


def worst(one: Any, other: Any) -> float:
    differences = [
        float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / max(1.0, float(jnp.std(a))))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    ]
    return max(differences)


def initial_deviation() -> dict[str, float]:
    """Returns how far a model born on the mesh is from one born on a device, and how it lies."""
    mesh = make_mesh(**MESHES["all"])
    config = config_of("block", 4)
    with jax.set_mesh(mesh):
        born = sharded_model(config, mesh, key=jax.random.key(0))
    whole = build_model(config, key=jax.random.key(0))
    experts = born.blocks[0].layers[1].inner.up[...]
    return {
        "values": worst(nnx.state(whole), nnx.state(born)),
        "share": experts.addressable_shards[0].data.size / experts.size,
    }


def main() -> None:
    assert len(jax.devices()) == 8
    results: dict[str, Any] = {
        f"{name}-{mesh}-{groups}": deviation(name, mesh, int(groups))
        for name, mesh, groups in (case.split("-") for case in sys.argv[1:])
    }
    results["initial"] = initial_deviation()
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
