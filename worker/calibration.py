"""Calibration: a step's time on the quiet machine, measured on a machine that may not be quiet.

Short blocks of training steps alternate with a fixed reference kernel of the same character on
the same cores. Both suffer alike from a throttled or shared machine, so their ratio does not; the
kernel's time on the quiet machine, recorded once per machine, turns the ratio back into seconds.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.clock import Clock, ProcessorClock, SystemClock

REFERENCE_TOKENS = 1024
REFERENCE_WIDTH = 64
REFERENCE_HIDDEN = 256
QUIET_SAMPLES = 60
CALIBRATION_FILE = "reference-speed.json"


@dataclass(frozen=True)
class Calibration:
    """A step's time as the quiet machine would have it.

    Attributes:
        step_seconds: Calibrated seconds a step.
        raw_step_seconds: The same as met, before the correction by the reference kernel.
        reference_seconds: The reference kernel's time as met beside it.
        samples: Blocks measured.
    """

    step_seconds: float
    raw_step_seconds: float
    reference_seconds: float
    samples: int


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


class Calibrator:
    """Collects paired samples of training steps and of the reference kernel.

    Args:
        reference: Runs the reference kernel once, to the end.
        quiet_reference_seconds: Its time on the quiet machine.
        clock: What samples are measured by.
    """

    def __init__(
        self, reference: Callable[[], None], quiet_reference_seconds: float, *, clock: Clock
    ) -> None:
        self._reference = reference
        self._quiet = quiet_reference_seconds
        self._clock = clock
        self._step_seconds: list[float] = []
        self._reference_seconds: list[float] = []

    def sample(self, block: Callable[[], None], steps: int) -> None:
        """Measures one block of `steps` training steps and the kernel right after it."""
        start = self._clock.now()
        block()
        middle = self._clock.now()
        self._reference()
        self._step_seconds.append((middle - start) / steps)
        self._reference_seconds.append(self._clock.now() - middle)

    def result(self) -> Calibration:
        """Returns the calibration from the samples so far.

        The lower quartile of each series is robust against bursts of a neighbour, which only
        ever lengthen a sample, and less fragile than the minimum.
        """
        step = lower_quartile(self._step_seconds)
        reference = lower_quartile(self._reference_seconds)
        return Calibration(
            step_seconds=step * self._quiet / reference,
            raw_step_seconds=step,
            reference_seconds=reference,
            samples=len(self._step_seconds),
        )

    @property
    def spread_seconds(self) -> float:
        """The standard deviation of the step samples, as met."""
        return statistics.pstdev(self._step_seconds) if self._step_seconds else 0.0


def lower_quartile(values: list[float]) -> float:
    """Returns the value below which a quarter of `values` lie."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 4]


def reference_kernel() -> Callable[[], None]:
    """Returns the compiled reference kernel: a small feed-forward network, forward only.

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
