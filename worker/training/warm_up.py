"""Warm-up: the first steps on dummy data, which also calibrate the budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from brainformer.search.proxy.proxy import Proxy
from brainformer.worker.datasets.dataset import Dataset
from brainformer.worker.devices.hosts import Hosts, OneHost
from brainformer.worker.timing.calibration import (
    cores,
    meter,
    quiet_reference_seconds,
    reference_kernel,
)
from brainformer.worker.timing.clock import Clock
from brainformer.worker.timing.step_time import CalibratedTimer, StepTimer, WallTimer
from brainformer.worker.training.program import Program, wait

WARM_UP_STEPS = 2
MIN_BLOCKS = 6
MAX_BLOCKS = 64
CALIBRATION_SHARE = 0.04  # of the budget
CALIBRATION_SECONDS = 0.25  # at most, once there are enough blocks
DUMMY_STEP = 1 << 40  # batches from here on are never trained on


@dataclass(frozen=True)
class WarmUp:
    """What the warm-up decided.

    Attributes:
        clock_name: `wall`, `calibrated` or `recorded`.
        timer: Fresh, for the training steps.
        step_seconds: A step's time, for a first guess of block lengths.
        total_steps: The number of steps to train; None under the wall clock.
    """

    clock_name: str
    timer: StepTimer
    step_seconds: float
    total_steps: int | None


def clock_name(proxy: Proxy, platform: str) -> str:
    """Returns the proxy's clock: `auto` is calibrated on CPU, else wall."""
    if proxy.clock != "auto":
        return proxy.clock
    return "calibrated" if platform == "cpu" else "wall"


def warm_up(
    program: Program,
    proxy: Proxy,
    data: Dataset,
    *,
    clock: Clock,
    platform: str,
    cache_folder: Path | None,
    decided: int | None,
    hosts: Hosts | None = None,
) -> WarmUp:
    """Runs the compiled step on dummy data until its time is known; its outcome is thrown away.

    Call it before the state of training is made, so that memory holds one state at a time.

    Args:
        program: The compiled trial.
        proxy: Its budget and clock.
        data: Where dummy batches are drawn from.
        clock: Real time.
        platform: Of the device.
        cache_folder: Holds the reference speed of this machine.
        decided: The number of steps if it is known already, from a record or a checkpoint.
        hosts: Of the trial; the first one's clock decides.
    """
    hosts = hosts or OneHost()
    name = clock_name(proxy, platform)
    make_timer = _timer_maker(name, clock, cache_folder)
    timer = make_timer()
    dummy = _Dummy(program, proxy, data)
    dummy.run(WARM_UP_STEPS)
    needed = MIN_BLOCKS if name == "calibrated" and decided is None else 1
    spendable = min(CALIBRATION_SHARE * proxy.budget_seconds, CALIBRATION_SECONDS)

    def enough(count: int) -> bool:
        return count >= needed and (needed == 1 or timer.seconds >= spendable)

    for count in range(MAX_BLOCKS):
        if hosts.agree(partial(enough, count)):
            break
        timer.run(lambda: dummy.run(1), 1)
        timer.run_reference()
    step_seconds = hosts.agree(lambda: timer.step_seconds)
    total = decided
    if name == "calibrated" and decided is None:
        total = max(1, round(proxy.budget_seconds / step_seconds))
    return WarmUp(
        clock_name=name,
        timer=make_timer(),
        step_seconds=step_seconds,
        total_steps=total,
    )


class _Dummy:
    """Training steps whose result nobody wants."""

    def __init__(self, program: Program, proxy: Proxy, data: Dataset) -> None:
        self._program = program
        self._state = program.initial()
        self._tokens = data.train.batch(
            seed=0,
            step=DUMMY_STEP,
            batch_size=proxy.batch_size,
            length=proxy.sequence_length + 1,
        )

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._state, metrics = self._program.step(self._state, self._tokens, np.float32(0.0))
            wait(metrics)


def _timer_maker(name: str, clock: Clock, cache_folder: Path | None) -> Callable[[], StepTimer]:
    if name == "wall":
        return lambda: WallTimer(clock)
    core_count = cores()
    metered = meter(core_count)
    reference = reference_kernel()
    quiet = quiet_reference_seconds(
        reference, clock=metered, core_count=core_count, folder=cache_folder
    )
    return lambda: CalibratedTimer(
        clock, meter=metered, reference=reference, quiet_reference_seconds=quiet
    )
