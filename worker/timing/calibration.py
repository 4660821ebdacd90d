"""Calibration: the reference kernel, and how fast the quiet machine runs it.

The kernel has the character of a training step. Run beside one on the same cores, it suffers
alike from a throttled or shared machine, so their ratio does not; its time on the quiet machine,
recorded once per machine, turns the ratio back into seconds (`worker/timing/step_time.py`).
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from brainformer.worker.timing.clock import Clock, ProcessorClock, SystemClock

REFERENCE_TOKENS = 1024
REFERENCE_WIDTH = 64
REFERENCE_HIDDEN = 256
QUIET_SAMPLES = 60
CALIBRATION_FILE = "reference-speed.json"


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def meter(core_count: int) -> Clock:
    """Returns the clock for calibration: processor time on one core, real time on several.

    Threads that wait for one another spin, so on several cores processor time says little.
    """
    return ProcessorClock() if core_count == 1 else SystemClock()


def lower_quartile(values: list[float]) -> float:
    """Returns the value below which a quarter of `values` lie."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 4]


@cache
def reference_kernel() -> Callable[[], None]:
    """Returns the compiled reference kernel: a small feed-forward network, forward only.

    Compiled once a process.

    Its shapes are those of a nano trial: matrix products that fit the cache, an element-wise
    activation, a reduction.
    """
    import jax
    import jax.numpy as jnp

    def network(x: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
        for _ in range(4):
            x = x + jax.nn.gelu(x @ up) @ down
            x = x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)
        return x

    shapes = (
        (REFERENCE_TOKENS, REFERENCE_WIDTH),
        (REFERENCE_WIDTH, REFERENCE_HIDDEN),
        (REFERENCE_HIDDEN, REFERENCE_WIDTH),
    )
    arguments = [jnp.full(shape, 0.01, jnp.float32) for shape in shapes]
    compiled = jax.jit(network).lower(*arguments).compile()

    def run() -> None:
        compiled(*arguments).block_until_ready()

    return run


def quiet_reference_seconds(
    reference: Callable[[], None], *, clock: Clock, core_count: int, folder: Path | None
) -> float:
    """Returns the reference kernel's time on the quiet machine.

    It is read from the calibration file in `folder`, or measured now and recorded there. It
    stays as it is from then on, because a yardstick that moves within a search would change how
    many steps its trials get.
    """
    key = f"{processor_name()}, {core_count} of {os.cpu_count()} cores"
    path = folder / CALIBRATION_FILE if folder else None
    known = _read(path)
    if key in known:
        return known[key]
    measured = measure_reference(reference, clock=clock)
    if path is not None:
        _write(path, known | {key: measured})
    return measured


def measure_reference(
    reference: Callable[[], None], *, clock: Clock, samples: int = QUIET_SAMPLES
) -> float:
    """Returns the lower quartile of the kernel's time over `samples` runs, after three more."""
    for _ in range(3):
        reference()
    times = []
    for _ in range(samples):
        start = clock.now()
        reference()
        times.append(clock.now() - start)
    return lower_quartile(times)


def processor_name() -> str:
    """Returns the processor's model name, or the machine's architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _read(path: Path | None) -> dict[str, float]:
    if path is None or not path.exists():
        return {}
    try:
        data = json.loads(path.read_text("utf-8"))
        return {str(key): float(value) for key, value in data.items() if float(value) > 0}
    except (ValueError, TypeError, AttributeError):
        return {}  # a damaged file costs one new measurement


def _write(path: Path, values: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(values, file, indent=1)
    Path(file.name).replace(path)
