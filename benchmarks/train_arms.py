"""The arms of benchmarks/train_overhead.py: a clock that stands still, and the bare loop."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import jax
from typing_extensions import override

from brainformer.worker.pretraining.progress import Beginning, Observer, Status


class StillClock:
    """A clock that stands still while the bare loop runs.

    Attributes:
        hidden: Seconds that it stood still.
    """

    def __init__(self, clock: Any) -> None:
        self.real = clock
        self.hidden = 0.0

    def now(self) -> float:
        """Returns seconds, less those that it stood still."""
        return float(self.real.now()) - self.hidden


class Rival(Observer):
    """The bare loop, run after each block of the run, and the count of what the run does.

    Attributes:
        marks: (seconds of the run, seconds of the bare loop) after each block.
        blocks: Seconds of the run's blocks of steps alone.
    """

    def __init__(
        self, plan: Any, program: Any, data: Any, clock: StillClock, seconds: float
    ) -> None:
        self._plan, self._program, self._data = plan, program, data
        self._clock, self._seconds = clock, seconds
        self._state = program.initial()
        self._step, self._start = 0, 0.0
        self.stop = threading.Event()
        self.saves = self.judged = 0
        self.save_seconds = self.bare_seconds = self.blocks = 0.0
        self.marks: list[tuple[float, float]] = []

    def one(self, step: int) -> Any:
        """Runs a step of the bare loop and returns its metrics."""
        proxy = self._plan.proxy
        tokens = self._data.train.batch(
            seed=self._plan.seed,
            step=step,
            batch_size=proxy.batch_size,
            length=proxy.sequence_length + 1,
        )
        self._state, metrics = self._program.step(self._state, tokens, self._plan.rate(step))
        return metrics

    @override
    def began(self, beginning: Beginning) -> None:
        self._start = self._clock.now()

    @override
    def trained(self, status: Status, *, due: bool) -> None:
        taken = self._clock.now() - self._start
        begun = self._clock.real.now()
        for step in range(self._step, status.step):
            metrics = self.one(step)
        jax.block_until_ready(metrics)
        bare = self._clock.real.now() - begun
        self._clock.hidden += bare
        self.bare_seconds += bare
        self.blocks = taken * (1.0 - status.paused_share)
        self._step = status.step
        self.marks.append((taken, self.bare_seconds))
        if taken >= self._seconds:
            self.stop.set()

    @override
    def validated(self, step: int, loss: float, bits_per_byte: float) -> None:
        self.judged += 1

    @override
    def saved(self, step: int, folder: Path, seconds: float) -> None:
        if self.marks:  # the first one is before the run's time, the last one after it
            self.saves += 1
            self.save_seconds += seconds

    @override
    def ended(self) -> None:
        """Has nothing left to do."""
