"""The progress of a run: what its observers are told, and the meter that measures it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from brainformer.worker.pretraining.plan import TrainingPlan
from brainformer.worker.timing.clock import Clock

WINDOW = 64  # blocks of steps that a rate is taken over


@dataclass(frozen=True)
class Beginning:
    """What is known when training begins.

    Attributes:
        run: Its identity.
        step: Steps done: above 0 for a run that goes on.
        parameters: Trained values.
        flops_per_token: Useful ones of a training step.
        peak_flops: A second, of all devices.
        peak_source: Where that comes from.
    """

    plan: TrainingPlan
    run: str
    step: int
    parameters: int
    flops_per_token: float
    peak_flops: float
    peak_source: str
    devices: str


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes:
        total_steps: None while nobody knows.
        loss: Mean over the last block of steps, in nats a token.
        tokens_per_second: Over the last blocks; pauses do not count.
        mfu: Share of the devices' peak that useful FLOPs reach.
        seconds_left: Until the end; None while nobody knows.
        paused_share: Of this process's time since training began that no step took.
    """

    step: int
    total_steps: int | None
    fraction: float
    loss: float
    learning_rate: float
    gradient_norm: float
    steps_per_second: float
    tokens_per_second: float
    mfu: float
    elapsed_seconds: float
    seconds_left: float | None
    paused_share: float


class Observer(ABC):
    """Is told what a run does; whatever it does takes time from training."""

    @abstractmethod
    def began(self, beginning: Beginning) -> None:
        """Training begins, after compiling."""

    @abstractmethod
    def trained(self, status: Status, *, due: bool) -> None:
        """A block of steps is over; `due` says that a report is wanted."""

    @abstractmethod
    def validated(self, step: int, loss: float, bits_per_byte: float) -> None:
        """The model was judged on the validation split."""

    @abstractmethod
    def saved(self, step: int, folder: Path, seconds: float) -> None:
        """A checkpoint was written."""

    @abstractmethod
    def ended(self) -> None:
        """The run is over, however it ended."""


class Meter:
    """Derives rates and times from blocks of steps.

    Args:
        beginning: What the run is.
        clock: Real time.
        elapsed_seconds: Of the run before this process.
    """

    def __init__(self, beginning: Beginning, clock: Clock, elapsed_seconds: float) -> None:
        self._beginning = beginning
        self._clock = clock
        self._start = clock.now()
        self._before = elapsed_seconds
        self._blocks: deque[tuple[int, float]] = deque(maxlen=WINDOW)
        self._training_seconds = 0.0

    def block(self, steps: int, seconds: float) -> None:
        """Notes a block of steps."""
        self._blocks.append((steps, seconds))
        self._training_seconds += seconds

    @property
    def elapsed_seconds(self) -> float:
        """Of the run, all processes together, without compiling."""
        return self._before + self._clock.now() - self._start

    @property
    def step_seconds(self) -> float:
        """Of one step, over the last blocks; 0 before the first."""
        steps = sum(count for count, _ in self._blocks)
        return sum(seconds for _, seconds in self._blocks) / steps if steps else 0.0

    def status(
        self, plan: TrainingPlan, step: int, *, loss: float, rate: float, norm: float
    ) -> Status:
        """Returns where the run stands."""
        here = self._clock.now() - self._start
        per_second = 1.0 / self.step_seconds if self.step_seconds else 0.0
        tokens = per_second * plan.tokens_per_step
        paused = max(0.0, 1.0 - self._training_seconds / here) if here > 0 else 0.0
        fraction, left = self._ahead(plan, step, paused)
        return Status(
            step=step,
            total_steps=plan.total_steps,
            fraction=fraction,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            steps_per_second=per_second,
            tokens_per_second=tokens,
            mfu=tokens * self._beginning.flops_per_token / self._beginning.peak_flops,
            elapsed_seconds=self._before + here,
            seconds_left=left,
            paused_share=paused,
        )

    def _ahead(self, plan: TrainingPlan, step: int, paused: float) -> tuple[float, float | None]:
        """Returns the fraction that is done, and the seconds that are left."""
        if plan.total_steps is not None:
            left = (plan.total_steps - step) * self.step_seconds / max(0.1, 1.0 - paused)
            return step / plan.total_steps, left if self.step_seconds else None
        if plan.hours is None:
            return 0.0, None
        whole = 3600.0 * plan.hours
        return min(1.0, self.elapsed_seconds / whole), max(0.0, whole - self.elapsed_seconds)
