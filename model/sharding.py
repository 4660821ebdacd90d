"""A model on a mesh of (data, expert, model) devices.

Rows of the batch are split over data x expert. Experts live on the expert axis and are reached
by an all-to-all of fixed shape (model/moe.py); widths of attention and feed-forward layers are
split over the model axis. Everything else is left to the compiler's partitioner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from model.config import DATA_AXIS, EXPERT_AXIS, MODEL_AXIS, ModelConfig
from model.decoder import Decoder, build_model
from search.errors import InvalidMesh

ROWS = PartitionSpec((DATA_AXIS, EXPERT_AXIS))
COLUMNS = PartitionSpec(None, MODEL_AXIS)
INNER = PartitionSpec(MODEL_AXIS, None)

# Per kind of sub-layer and parameter; what is not named is on every device.
PARTITION_RULES: dict[str, dict[str, PartitionSpec]] = {
    "attention": {"qkv": COLUMNS, "out": INNER, "kernel": COLUMNS},
    "feed_forward": {"up": COLUMNS, "gate": COLUMNS, "down": INNER},
    "moe": {
        "up": PartitionSpec(EXPERT_AXIS, None, MODEL_AXIS),
        "gate": PartitionSpec(EXPERT_AXIS, None, MODEL_AXIS),
        "down": PartitionSpec(EXPERT_AXIS, MODEL_AXIS, None),
    },
}


def make_mesh(
    *, data: int = 1, expert: int = 1, model: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """Returns a mesh of data x expert x model devices.

    Raises:
        InvalidMesh: the axes are not positive, or their product is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = {DATA_AXIS: data, EXPERT_AXIS: expert, MODEL_AXIS: model}
    for name, size in sizes.items():
        if size < 1:
            raise InvalidMesh(f"the {name} axis of a mesh must be at least 1", size, f"/{name}")
    if data * expert * model != len(devices):
        rule = f"data x expert x model must be the number of devices ({len(devices)})"
        raise InvalidMesh(rule, f"{data} x {expert} x {model}")
    grid = np.asarray(devices).reshape(data, expert, model)
    return Mesh(grid, tuple(sizes), axis_types=(AxisType.Auto,) * 3)


def check_mesh(config: ModelConfig, mesh: Mesh) -> None:
    """Refuses a mesh that does not divide the model.

    Raises:
        InvalidMesh: names the field, its value and the axis that does not divide it.
    """
    data, expert, model = (mesh.shape[a] for a in (DATA_AXIS, EXPERT_AXIS, MODEL_AXIS))
    shards = data * expert
    _divides(config.batch_size, shards, "batch_size", "data x expert")
    if any(layer.kind == "moe" for layer in config.genome.layers):
        _divides(config.experts, expert, "experts", EXPERT_AXIS)
        if config.expert_groups != shards:
            rule = f"expert_groups must be data x expert ({shards}), one group of rows a shard"
            raise InvalidMesh(rule, config.expert_groups, "/expert_groups")
    for index, layer in enumerate(config.genome.layers):
        field = "heads" if layer.kind == "attention" else "hidden_dim"
        _divides(getattr(layer, field), model, f"layers/{index}/{field}", MODEL_AXIS)


def _divides(value: int, size: int, field: str, axis: str) -> None:
    if value % size:
        raise InvalidMesh(f"the {axis} axis ({size}) must divide {field}", value, f"/{field}")


def model_shardings(config: ModelConfig, mesh: Mesh) -> Any:
    """Returns a sharding per variable of the model, in the shape of its state."""
    abstract = nnx.eval_shape(lambda: build_model(config, key=jax.random.key(0)))
    kinds = [layer.kind for layer in config.genome.layers]
    state = nnx.state(abstract)

    def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        names = [getattr(part, "key", getattr(part, "name", part)) for part in path]
        return NamedSharding(mesh, _spec(names, leaf.ndim, kinds, scanned=config.scan))

    return jax.tree_util.tree_map_with_path(sharding, state)


def _spec(names: list[Any], ndim: int, kinds: list[str], *, scanned: bool) -> PartitionSpec:
    if "inner" not in names:
        return PartitionSpec()
    kind = kinds[int(names[names.index("layers") + 1])]
    parameter = names[names.index("inner") + 1]
    rule = PARTITION_RULES[kind].get(str(parameter), PartitionSpec())
    if "matrices" in names and int(names[names.index("matrices") + 1]) == 0 and rule == INNER:
        rule = _first_of_factored(names, rule)
    stacked = (None,) if scanned and len(rule) else ()
    return PartitionSpec(*stacked, *rule)


def _first_of_factored(names: list[Any], rule: PartitionSpec) -> PartitionSpec:
    """Returns the rule of a product's first matrix: its inputs are what is split."""
    del names
    return rule


def sharded_model(config: ModelConfig, mesh: Mesh, *, key: Array) -> Decoder:
    """Returns a model whose parameters are born where they live, never whole on one device.

    Raises:
        InvalidMesh: the mesh does not divide the model.
    """
    check_mesh(config, mesh)
    graph = nnx.graphdef(nnx.eval_shape(lambda: build_model(config, key=key)))
    shardings = model_shardings(config, mesh)

    def initial(key: Array) -> Any:
        return nnx.state(build_model(config, key=key))

    model: Decoder = nnx.merge(graph, jax.jit(initial, out_shardings=shardings)(key))
    return model


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch of token rows."""
    return NamedSharding(mesh, ROWS)
