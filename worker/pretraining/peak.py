"""The peak that utilisation is a share of: of a data sheet where there is one, else measured."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from brainformer.worker.targets.hardware import CHIPS
from brainformer.worker.timing.clock import Clock

# Dense bfloat16 products, FLOPs a second, by what the device calls itself; the first that fits.
DATA_SHEETS = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "TPU v6 lite": CHIPS["v6e"].flops_per_second,
    "TPU v5 lite": CHIPS["v5e"].flops_per_second,
    "TPU v5": CHIPS["v5p"].flops_per_second,
}
SIDE, REPEATS = 1024, 6


class Peak(NamedTuple):
    """FLOPs a second of all devices together, and where the figure comes from."""

    flops_per_second: float
    source: str


def peak_of(devices: list[jax.Device], *, dtype: str, clock: Clock) -> Peak:
    """Returns the devices' peak; one that no data sheet is known of multiplies matrices.

    Args:
        devices: Of the run, all of one kind.
        dtype: Of its matrix products.
        clock: Real time.
    """
    kind = devices[0].device_kind
    for name, flops in DATA_SHEETS.items():
        if name in kind:
            return Peak(flops * len(devices), f"data sheet, {name}")
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
