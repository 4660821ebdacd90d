"""What one attempt measures on its way, and the result that is made of it."""

from __future__ import annotations

import math

import jax
import numpy as np

from brainformer.search.trials.lease_messages import Lease, Result
from brainformer.search.trials.trial import CurvePoint, Measurements, Outcome
from brainformer.worker.devices.device_memory import peak_memory_bytes
from brainformer.worker.timing.budget import Budget
from brainformer.worker.timing.clock import Clock
from brainformer.worker.timing.step_time import StepTimer
from brainformer.worker.training.evaluation import bits_per_byte
from brainformer.worker.training.layout import StepMetrics


class AttemptLog:
    """Collects measurements and the learning curve.

    Args:
        lease: What is run.
        device: What it runs on.
        clock: Real time; occupied seconds count from now on.

    Attributes:
        curve: The points so far.
        earlier_occupied_seconds: Of attempts before this one.
        calibrated: Whether a calibration before training decided the number of steps.
        measurements: What is known so far.
    """

    def __init__(self, lease: Lease, device: jax.Device, clock: Clock) -> None:
        self._lease = lease
        self._device = device
        self._clock = clock
        self._started = clock.now()
        self._losses: list[float] = []
        self.curve: list[CurvePoint] = []
        self.earlier_occupied_seconds = 0.0
        self.calibrated = False
        self.measurements = Measurements(platform=device.platform, device=device.device_kind)

    @property
    def occupied_seconds(self) -> float:
        """Seconds from the start of the first attempt's run to now, waiting between them apart."""
        return self.earlier_occupied_seconds + self._clock.now() - self._started

    def measured(self, **values: object) -> None:
        """Keeps values of `Measurements` by name; a later one replaces an earlier one."""
        self.measurements = self.measurements.model_copy(update=values)

    def add_loss(self, loss: float) -> None:
        """Keeps a training loss for the next point's mean."""
        self._losses.append(loss)

    def add_point(
        self,
        fraction: float,
        *,
        budget: Budget,
        validation_loss: float,
        metrics: StepMetrics,
        bytes_per_token: float,
    ) -> CurvePoint:
        """Returns the next point of the learning curve and keeps it as the latest measurement."""
        norm = float(metrics.gradient_norm)
        point = CurvePoint(
            fraction=fraction,
            step=budget.steps,
            training_seconds=budget.training_seconds,
            training_loss=float(np.mean(self._losses)) if self._losses else None,
            validation_loss=validation_loss,
            drop_fraction=_share(float(metrics.drop_fraction)),
            gradient_norm=norm if math.isfinite(norm) else None,
        )
        self._losses = []
        self.curve.append(point)
        load = tuple(float(share) for share in np.ravel(metrics.expert_load))
        self.measured(
            validation_loss=validation_loss,
            bits_per_byte=bits_per_byte(validation_loss, bytes_per_token),
            drop_fraction=point.drop_fraction,
            gradient_norm=point.gradient_norm,
            expert_load=load if sum(load) > 0 else None,
        )
        return point

    def add_routing(self, *, drops: list[float], experts: list[float]) -> None:
        """Keeps what the experts did in the batches of an evaluation."""
        self.measured(
            evaluation_drop_fraction=_share(float(np.mean(drops))),
            evaluation_experts=float(np.mean(experts)),
        )

    def result(
        self,
        outcome: Outcome,
        message: str,
        *,
        budget: Budget | None,
        timer: StepTimer | None,
    ) -> Result:
        """Returns the result; `budget` and `timer` are None where training did not begin."""
        occupied = self.occupied_seconds
        self.measured(
            elapsed_seconds=occupied,
            occupied_seconds=occupied,
            peak_memory_bytes=max(map(peak_memory_bytes, jax.local_devices())),
            curve=tuple(self.curve),
        )
        if budget is not None and timer is not None and timer.steps:
            proxy = self._lease.proxy
            self.measured(
                steps=budget.steps,
                tokens=budget.steps * proxy.batch_size * proxy.sequence_length,
                training_seconds=budget.training_seconds,
                step_time_ms=1e3 * timer.step_seconds,
                step_time_spread_ms=1e3 * timer.spread_seconds,
                contention=timer.contention,
                calibration_lost_steps=self._lost_steps(budget, timer),
                utilisation=min(2.0, budget.training_seconds / occupied) if occupied else None,
            )
        # Validated again, so that no NaN or negative number leaves as a measurement.
        measurements = Measurements.model_validate(self.measurements.model_dump())
        return Result(outcome=outcome, measurements=measurements, message=message[:2000])

    def _lost_steps(self, budget: Budget, timer: StepTimer) -> int | None:
        """Returns what the quiet machine would have done in the budget, less what was done."""
        if not self.calibrated or budget.fraction < 1 or not timer.step_seconds:
            return None
        return round(self._lease.proxy.budget_seconds / timer.step_seconds) - budget.steps


def _share(value: float) -> float:
    """Returns a share as one, whatever rounding made of it."""
    return min(1.0, max(0.0, value))
