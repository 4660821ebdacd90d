"""Step times: as the clock met them, or as the quiet machine would have had them."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from brainformer.worker.timing.calibration import lower_quartile
from brainformer.worker.timing.clock import Clock

Done = TypeVar("Done")
# Between looks at the clock, the losses and the stop signal. An accelerator stands still from the
# end of a block until the next one's first step reaches it: 5 to 10 ms.
BLOCK_SECONDS = {"cpu": 0.1, "accelerator": 0.5}
# A block of steps leaves nothing of the kernel's in the caches: its first run afterwards takes 1.3
# to 1.5 times as long as on the quiet machine, its third 1.02 to 1.06 times
# (docs/experiments/trial.md).
COLD_RUNS = 2


def block_seconds(platform: str) -> float:
    """Returns how long a block of training steps should last."""
    return BLOCK_SECONDS["cpu" if platform == "cpu" else "accelerator"]


class StepTimer(ABC):
    """Runs blocks of training steps and keeps what they took.

    Attributes:
        seconds: Real seconds of all blocks so far.
        steps: Steps of all blocks so far.
    """

    seconds: float
    steps: int

    @abstractmethod
    def run(self, block: Callable[[], Done], steps: int) -> tuple[Done, float]:
        """Runs a block of `steps` steps to its end; returns its result and its real seconds."""

    @abstractmethod
    def run_reference(self, *, after_block: bool = False) -> None:
        """Takes one sample of the reference kernel, where this timer has one.

        Args:
            after_block: Whether a block of steps comes before, whose own caches are warm, so that
                the kernel's have to be as well. A single step between two samples is as cold as
                the kernel, and their ratio is right as it is.
        """

    @abstractmethod
    def measure(self, run: Callable[[], None], repeats: int) -> float:
        """Returns the seconds of something that is not a training step, measured alike."""

    @property
    @abstractmethod
    def step_seconds(self) -> float:
        """A step's time, robust against single slow blocks."""

    @property
    @abstractmethod
    def spread_seconds(self) -> float:
        """Half the distance between the 16th and the 84th percentile of the blocks' step times."""

    @property
    def contention(self) -> float:
        """Mean real step time over `step_seconds`: 1 on a quiet machine."""
        if not self.steps or not self.step_seconds:
            return 1.0
        return self.seconds / self.steps / self.step_seconds


class WallTimer(StepTimer):
    """Real time: the median over blocks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: list[float] = []
        self.seconds = 0.0
        self.steps = 0

    def run(self, block: Callable[[], Done], steps: int) -> tuple[Done, float]:
        """Runs the block between two looks at the clock."""
        start = self._clock.now()
        done = block()
        seconds = self._clock.now() - start
        self._samples.append(seconds / steps)
        self.seconds += seconds
        self.steps += steps
        return done, seconds

    def run_reference(self, *, after_block: bool = False) -> None:
        """Does nothing: real time is what counts."""

    def measure(self, run: Callable[[], None], repeats: int) -> float:
        """Returns the median of the real times."""
        return statistics.median(_times(self._clock, run, repeats))

    @property
    def step_seconds(self) -> float:
        """The median."""
        return statistics.median(self._samples) if self._samples else 0.0

    @property
    def spread_seconds(self) -> float:
        """The spread of the real times."""
        return _spread(self._samples)


class CalibratedTimer(StepTimer):
    """Seconds of the quiet machine: step samples over reference samples.

    The lower quartile of each series is robust against a neighbour's bursts, which only ever
    lengthen a sample, and less fragile than the minimum.

    Args:
        clock: Real time.
        meter: What samples are measured by; see `brainformer.worker.timing.calibration.meter`.
        reference: Runs the reference kernel once, to the end.
        quiet_reference_seconds: Its time on the quiet machine.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        meter: Clock,
        reference: Callable[[], None],
        quiet_reference_seconds: float,
    ) -> None:
        self._clock = clock
        self._meter = meter
        self._reference = reference
        self._quiet = quiet_reference_seconds
        self._samples: list[float] = []
        self._reference_samples: list[float] = []
        self.seconds = 0.0
        self.steps = 0

    def run(self, block: Callable[[], Done], steps: int) -> tuple[Done, float]:
        """Runs the block under both clocks."""
        start, metered = self._clock.now(), self._meter.now()
        done = block()
        seconds = self._clock.now() - start
        self._samples.append((self._meter.now() - metered) / steps)
        self.seconds += seconds
        self.steps += steps
        return done, seconds

    def run_reference(self, *, after_block: bool = False) -> None:
        """Takes one sample of the reference kernel, after a block the third of three runs."""
        for _ in range(COLD_RUNS if after_block else 0):
            self._reference()
        start = self._meter.now()
        self._reference()
        self._reference_samples.append(self._meter.now() - start)

    def measure(self, run: Callable[[], None], repeats: int) -> float:
        """Returns the lower quartile of the metered times, corrected alike."""
        return lower_quartile(_times(self._meter, run, repeats)) / self.slowdown

    @property
    def slowdown(self) -> float:
        """How much slower than on the quiet machine the reference kernel runs at present."""
        if not self._reference_samples:
            return 1.0
        return lower_quartile(self._reference_samples) / self._quiet

    @property
    def step_seconds(self) -> float:
        """The calibrated seconds a step."""
        return lower_quartile(self._samples) / self.slowdown if self._samples else 0.0

    @property
    def spread_seconds(self) -> float:
        """The spread of the metered times, corrected alike."""
        return _spread(self._samples) / self.slowdown


def _times(clock: Clock, run: Callable[[], None], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = clock.now()
        run()
        times.append(clock.now() - start)
    return times


def _spread(samples: list[float]) -> float:
    if len(samples) < 2:
        return 0.0
    ordered = sorted(samples)
    last = len(ordered) - 1
    return (ordered[round(0.84 * last)] - ordered[round(0.16 * last)]) / 2
