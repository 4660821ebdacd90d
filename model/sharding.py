"""A model on a mesh of (data, expert, model) devices.

Rows of the batch are split over data x expert. Experts live on the expert axis
(model/experts/expert_parallel.py); widths of attention and feed-forward layers are split over the
model axis. Everything else is left to the compiler's partitioner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jaxtyping import Array

from brainformer.model.config import (
    DATA_AXIS,
    EXPERT_AXIS,
    MODEL_AXIS,
    ModelConfig,
    partition_spec,
)
from brainformer.model.decoder import Decoder, build_model
from brainformer.search.errors import InvalidMesh

Axes = tuple[str | None, ...]
COLUMNS: Axes = (None, MODEL_AXIS)
INNER: Axes = (MODEL_AXIS, None)

# Per kind of sub-layer and parameter, the axis that each dimension is split over; what is not
# named is on every device.
PARTITION_RULES: dict[str, dict[str, Axes]] = {
    "attention": {"qkv": COLUMNS, "out": INNER, "kernel": COLUMNS},
    "feed_forward": {"up": COLUMNS, "gate": COLUMNS, "down": INNER},
    "moe": {
        "up": (EXPERT_AXIS, *COLUMNS),
        "gate": (EXPERT_AXIS, *COLUMNS),
        "down": (EXPERT_AXIS, *INNER),
    },
}
# Per kind, the field of the genome that the model axis must divide.
SPLIT_FIELDS = {"attention": "heads", "feed_forward": "hidden_dim", "moe": "hidden_dim"}


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
        if config.expert_groups > 1:
            rule = f"routing_groups must be 1 or a multiple of data x expert ({shards})"
            if config.expert_groups % shards:
                raise InvalidMesh(rule, config.expert_groups, "/routing_groups")
    for index, layer in enumerate(config.genome.layers):
        field = SPLIT_FIELDS[layer.kind]
        _divides(getattr(layer, field), model, f"layers/{index}/{field}", MODEL_AXIS)


def _divides(value: int, size: int, field: str, axis: str) -> None:
    if value % size:
        raise InvalidMesh(f"the {axis} axis ({size}) must divide {field}", value, f"/{field}")


def model_shardings(config: ModelConfig, mesh: Mesh) -> Any:
    """Returns a sharding per variable of the model, in the shape of its state."""
    abstract = nnx.eval_shape(lambda: build_model(config, key=jax.random.key(0)))
    return state_shardings(nnx.state(abstract), config, mesh)


def state_shardings(state: Any, config: ModelConfig, mesh: Mesh) -> Any:
    """Returns a sharding per variable of the model's state, or of a part of it.

    A dimension that its axis does not divide is on every device whole: the inner width of a
    low-rank projection, for instance.
    """
    kinds: list[str] = [layer.kind for layer in config.genome.layers]

    def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        names = [getattr(part, "key", getattr(part, "name", part)) for part in path]
        axes = _axes(names, kinds, scanned=config.scan)
        divided = [
            axis if axis is not None and size % mesh.shape[axis] == 0 else None
            for axis, size in zip(axes, leaf.shape, strict=False)
        ]
        return NamedSharding(mesh, partition_spec(*divided))

    return jax.tree_util.tree_map_with_path(sharding, state)


def _axes(names: list[Any], kinds: list[str], *, scanned: bool) -> Axes:
    """Returns the axes of the parameter that lies at a path of names in the model's state."""
    if "inner" not in names:
        return ()
    kind = kinds[int(names[names.index("layers") + 1])]
    parameter = str(names[names.index("inner") + 1])
    axes = PARTITION_RULES[kind].get(parameter, ())
    return (None, *axes) if scanned and axes else axes


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
    return NamedSharding(mesh, partition_spec((DATA_AXIS, EXPERT_AXIS)))
