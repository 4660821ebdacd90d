"""What a traced program will run on: its platform, and how many devices share each axis.

Both come from the mesh that tracing stands under, so that a program can be compiled for devices
that are not there, and from jax's default device where there is no mesh.
"""

from __future__ import annotations

import jax

from brainformer.model.config import DATA_AXIS, EXPERT_AXIS, MODEL_AXIS


def platform() -> str:
    """Returns `cpu`, `gpu` or `tpu`: that of the mesh's devices, or of the default device."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    return jax.default_backend() if device is None else str(device.platform)


def axis_size(axis: str) -> int:
    """Returns how many devices share an axis of the mesh; 1 without a mesh."""
    mesh = jax.sharding.get_abstract_mesh()
    return int(mesh.shape[axis]) if axis in mesh.axis_names else 1


def shards() -> int:
    """Returns into how many parts the rows of a batch are split: data x expert."""
    return axis_size(DATA_AXIS) * axis_size(EXPERT_AXIS)


def on_several_devices() -> bool:
    """Returns whether the mesh has more than one device."""
    return shards() * axis_size(MODEL_AXIS) > 1
