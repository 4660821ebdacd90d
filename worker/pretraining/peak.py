"""The peak that utilisation is a share of: from a data sheet if there is one, else measured."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from brainformer.worker.targets.hardware import DATA_SHEETS, data_sheet
from brainformer.worker.timing.clock import Clock

SIDE, REPEATS = 1024, 6


class Peak(NamedTuple):
    """FLOPs a second of all devices together, and where the figure comes from."""

    flops_per_second: float
    source: str


def peak_of(devices: list[jax.Device], *, dtype: str, clock: Clock) -> Peak:
    """Returns the devices' peak; where no data sheet is known, a matrix product is measured.

    Args:
        devices: Of the run, all of one kind.
        dtype: Of its matrix products.
        clock: Real time.
    """
    name = data_sheet(devices[0].device_kind)
    if name is not None:
        return Peak(DATA_SHEETS[name] * len(devices), f"data sheet, {name}")
    # Devices that a CPU is cut into share its cores.
    count = 1 if devices[0].platform == "cpu" else len(devices)
    return Peak(count * _measured(dtype, clock), f"a product of {SIDE} x {SIDE} matrices, measured")


def _measured(dtype: str, clock: Clock) -> float:
    matrix = jnp.ones((SIDE, SIDE), jnp.dtype(dtype))
    product = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    seconds = []
    for _ in range(REPEATS):
        start = clock.now()
        product(matrix, matrix).block_until_ready()
        seconds.append(clock.now() - start)
    return 2.0 * SIDE**3 / min(seconds)
