"""Proxy training: one genome, one budget, one result. No Ray, no HTTP.

The order is the contract: compile, refuse what does not fit, warm up on dummy data, restore the
initial state, start the clock; evaluate at set fractions beside the clock; check causality; report.
A failed candidate is a result with a reason. What is not the candidate's doing is raised.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from model.causality import probe
from model.config import ModelConfig
from search.cost import activated_parameters
from search.lease import Directive, Lease, Progress, Result
from search.trial import CurvePoint, Measurements, Outcome
from worker.budget import Budget, StepBudget, WallBudget
from worker.checkpoint import (
    SavedProgress,
    discard_checkpoint,
    read_progress,
    restore_state,
    save_checkpoint,
)
from worker.clock import Clock, SystemClock
from worker.data import Dataset, open_dataset
from worker.evaluation import FRACTIONS, ValidationSet, bits_per_byte
from worker.memory import memory_limit_bytes, peak_memory_bytes
from worker.program import Program, StepMetrics, TrainingState, compile_program, wait
from worker.warm_up import WarmUp, warm_up

BLOCK_SECONDS = 0.1  # between looks at the clock, the losses and the stop signal
REFERENCE_EVERY = 0.02  # of the budget
INFERENCE_REPEATS = 5

# What the controller's reason begins with decides the outcome; anything else is a pruning.
STOP_OUTCOMES = {"infeasible": Outcome.INFEASIBLE, "cancelled": Outcome.CANCELLED}


def train_proxy(
    lease: Lease,
    *,
    on_progress: Callable[[Progress], Directive],
    data: Dataset | None = None,
    clock: Clock | None = None,
    cache_folder: Path | None = None,
    checkpoint_folder: Path | None = None,
    stop: threading.Event | None = None,
    recorded_steps: int | None = None,
) -> Result:
    """Trains the lease's genome for its budget and returns how that ended.

    Args:
        lease: Genome, proxy and seed.
        on_progress: Told of every point of the learning curve; its answer is obeyed. It is
            called from this thread, and the time it takes is not training time.
        data: The open data set; by default the proxy's, from the per-user folder.
        clock: Real time; processor time is used beside it to calibrate.
        cache_folder: Keeps compiled programs and the reference speed between processes.
        checkpoint_folder: This trial's own; a checkpoint there is resumed, and one is written
            on `stop`.
        stop: Set from outside on preemption; looked at between blocks of steps.
        recorded_steps: Trains exactly so many steps instead of asking a clock; with the same
            seed on the same kind of machine the loss is the same, bit for bit on CPU.

    Returns:
        The result: completed; pruned, infeasible or cancelled on the controller's word;
        out_of_memory, diverged or leaks_future; preempted.

    Raises:
        InvalidData: the data set does not fit the proxy.
    """
    attempt = _Attempt(
        lease=lease,
        on_progress=on_progress,
        data=data or open_dataset(lease.proxy.dataset),
        clock=clock or SystemClock(),
        cache_folder=cache_folder,
        checkpoint_folder=checkpoint_folder,
        stop=stop or threading.Event(),
        recorded_steps=recorded_steps,
    )
    return attempt.run()


class _Ended(Exception):
    """The attempt is over before its budget."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


class _Attempt:
    """The phases of one attempt, in order, and what they measured."""

    def __init__(
        self,
        *,
        lease: Lease,
        on_progress: Callable[[Progress], Directive],
        data: Dataset,
        clock: Clock,
        cache_folder: Path | None,
        checkpoint_folder: Path | None,
        stop: threading.Event,
        recorded_steps: int | None,
    ) -> None:
        self.lease = lease
        self.on_progress = on_progress
        self.data = data
        self.clock = clock
        self.cache_folder = cache_folder
        self.checkpoint_folder = checkpoint_folder
        self.stop = stop
        self.recorded_steps = recorded_steps
        self.device = jax.devices()[0]
        self.started = clock.now()
        self.measurements = Measurements(
            platform=self.device.platform, device=self.device.device_kind
        )
        self.curve: list[CurvePoint] = []
        self.losses: list[float] = []
        self.earlier: SavedProgress | None = None

    def run(self) -> Result:
        """Returns how the attempt ended."""
        try:
            program = self._compile()
            validation = ValidationSet(self.data, self.lease.proxy)
            state = self._start(program)
            state = self._train(program, validation, state)
            self._check_causality(program, state)
        except _Ended as end:
            return self._result(end.outcome, end.message)
        if self.checkpoint_folder is not None:
            discard_checkpoint(self.checkpoint_folder)
        return self._result(Outcome.COMPLETED, "")

    def _compile(self) -> Program:
        """Compiles; ends the attempt if the program needs more memory than there is."""
        proxy = self.lease.proxy
        self.data.check_fits(
            vocab_size=proxy.vocab_size,
            batch_size=proxy.batch_size,
            length=proxy.sequence_length + 1,
        )
        config = ModelConfig.of_proxy(self.lease.genome, proxy, platform=self.device.platform)
        program = compile_program(
            config, proxy, seed=self.lease.seed, clock=self.clock, cache_folder=self.cache_folder
        )
        self._measured(
            compile_seconds=program.compile_seconds,
            parameters=program.parameters,
            activated_parameters=activated_parameters(self.lease.genome, proxy),
            estimated_memory_bytes=program.memory_bytes,
        )
        limit = memory_limit_bytes(self.device)
        if program.memory_bytes > limit:
            raise _Ended(
                Outcome.OUT_OF_MEMORY,
                f"the training step needs {program.memory_bytes / 2**30:.2f} GiB of memory, "
                f"the device offers {limit / 2**30:.2f} GiB",
            )
        return program

    def _start(self, program: Program) -> TrainingState:
        """Warms up, decides the budget and returns the state that training begins with."""
        proxy = self.lease.proxy
        self.earlier = self._saved()
        warm = warm_up(
            program,
            proxy,
            self.data,
            clock=self.clock,
            platform=self.device.platform,
            cache_folder=self.cache_folder,
            decided=self.recorded_steps or (self.earlier.total_steps if self.earlier else None),
        )
        state = program.initial()
        if self.earlier is not None and self.checkpoint_folder is not None:
            restored = restore_state(self.checkpoint_folder, state)
            self.earlier = self.earlier if restored is not None else None
            state = state if restored is None else restored
        self.warm: WarmUp = warm
        self.timer = warm.timer
        self.budget = self._budget(warm)
        self.curve = list(self.earlier.curve) if self.earlier else []
        self.block_steps = max(1, round(BLOCK_SECONDS / max(warm.step_seconds, 1e-9)))
        self._measured(clock=warm.clock_name)
        return state

    def _saved(self) -> SavedProgress | None:
        if self.checkpoint_folder is None:
            return None
        return read_progress(
            self.checkpoint_folder, digest=self.lease.genome.digest, seed=self.lease.seed
        )

    def _budget(self, warm: WarmUp) -> Budget:
        steps = self.earlier.steps if self.earlier else 0
        seconds = self.earlier.training_seconds if self.earlier else 0.0
        if warm.total_steps is not None:
            return StepBudget(warm.total_steps, steps=steps, training_seconds=seconds)
        return WallBudget(
            self.lease.proxy.budget_seconds,
            step_seconds=warm.step_seconds,
            steps=steps,
            training_seconds=seconds,
        )

    def _train(
        self, program: Program, validation: ValidationSet, state: TrainingState
    ) -> TrainingState:
        """Trains to each fraction in turn and reports there."""
        next_reference = self.budget.fraction
        for target in FRACTIONS:
            if self.budget.fraction >= target and self.earlier is not None:
                continue
            while self.budget.fraction < target:
                count = min(self.block_steps, self.budget.steps_until(target))
                state, metrics = self._block(program, state, count)
                if self.budget.fraction >= next_reference:
                    self.timer.run_reference()
                    next_reference += REFERENCE_EVERY
            self._report(program, validation, state, metrics, target)
        return state

    def _block(
        self, program: Program, state: TrainingState, count: int
    ) -> tuple[TrainingState, StepMetrics]:
        """Runs `count` training steps under the clock."""
        proxy, first = self.lease.proxy, self.budget.steps

        def steps() -> tuple[TrainingState, StepMetrics]:
            after = state
            for ahead in range(count):
                tokens = self.data.train.batch(
                    seed=self.lease.seed,
                    step=first + ahead,
                    batch_size=proxy.batch_size,
                    length=proxy.sequence_length + 1,
                )
                fraction = np.float32(self.budget.step_fraction(ahead))
                after, metrics = program.step(after, tokens, fraction)
            wait(metrics)
            return after, metrics

        (state, metrics), seconds = self.timer.run(steps, count)
        self.budget.record(count, seconds)
        loss = float(metrics.cross_entropy)
        if not math.isfinite(loss):
            raise _Ended(
                Outcome.DIVERGED, f"the training loss is {loss} at step {self.budget.steps}"
            )
        self.losses.append(loss)
        if self.stop.is_set():
            self._preempted(state)
        return state, metrics

    def _report(
        self,
        program: Program,
        validation: ValidationSet,
        state: TrainingState,
        metrics: StepMetrics,
        target: float,
    ) -> None:
        """Evaluates beside the clock, reports the point and obeys the answer."""
        loss = validation.loss(lambda tokens: program.evaluate(state, tokens))
        if not math.isfinite(loss):
            raise _Ended(Outcome.DIVERGED, f"the validation loss is {loss}")
        norm = float(metrics.gradient_norm)
        drop = min(1.0, max(0.0, float(metrics.drop_fraction)))
        point = CurvePoint(
            fraction=target,
            step=self.budget.steps,
            training_seconds=self.budget.training_seconds,
            training_loss=float(np.mean(self.losses)),
            validation_loss=loss,
            drop_fraction=drop,
            gradient_norm=norm if math.isfinite(norm) else None,
        )
        self.losses = []
        self.curve.append(point)
        self._measured(
            validation_loss=loss,
            bits_per_byte=bits_per_byte(loss, self.data.manifest.bytes_per_token),
            drop_fraction=drop,
            gradient_norm=point.gradient_norm,
            expert_load=tuple(float(x) for x in np.ravel(metrics.expert_load)) or None,
        )
        self._measure_inference(program, validation, state)
        if target < FRACTIONS[-1]:
            self._obey(point)

    def _measure_inference(
        self, program: Program, validation: ValidationSet, state: TrainingState
    ) -> None:
        """Measures one evaluation batch, under the rule of export, once where it is asked for."""
        if not self.lease.inference_time or self.measurements.inference_time_ms is not None:
            return
        tokens = validation.batches[0]
        seconds = self.timer.measure(
            lambda: wait(program.evaluate(state, tokens)), INFERENCE_REPEATS
        )
        self._measured(inference_time_ms=1e3 * seconds)

    def _obey(self, point: CurvePoint) -> None:
        directive = self.on_progress(
            Progress(
                point=point,
                step_time_ms=1e3 * self.timer.step_seconds,
                inference_time_ms=self.measurements.inference_time_ms,
                phase="training",
            )
        )
        if directive.action == "stop":
            word = directive.reason.split(maxsplit=1)[0].strip(":,.") if directive.reason else ""
            raise _Ended(STOP_OUTCOMES.get(word, Outcome.PRUNED), directive.reason)

    def _preempted(self, state: TrainingState) -> None:
        """Saves where the attempt stands and ends it."""
        if self.checkpoint_folder is not None:
            progress = SavedProgress(
                digest=self.lease.genome.digest,
                seed=self.lease.seed,
                steps=self.budget.steps,
                total_steps=self.warm.total_steps,
                training_seconds=self.budget.training_seconds,
                occupied_seconds=self._occupied_seconds(),
                curve=tuple(self.curve),
            )
            save_checkpoint(self.checkpoint_folder, state, progress)
        raise _Ended(Outcome.PREEMPTED, f"asked to stop at step {self.budget.steps}")

    def _check_causality(self, program: Program, state: TrainingState) -> None:
        """Ends the attempt if the trained model's logits depend on later tokens."""
        if self.lease.proxy.routing == "paper":
            return  # the labelled reproduction of a rule that leaks
        leak = probe(program.decoder(state), key=jax.random.key(0))
        if not leak.causal:
            raise _Ended(Outcome.LEAKS_FUTURE, str(leak))

    def _occupied_seconds(self) -> float:
        earlier = self.earlier.occupied_seconds if self.earlier else 0.0
        return earlier + self.clock.now() - self.started

    def _measured(self, **values: object) -> None:
        self.measurements = self.measurements.model_copy(update=values)

    def _result(self, outcome: Outcome, message: str) -> Result:
        occupied = self._occupied_seconds()
        self._measured(
            elapsed_seconds=occupied,
            occupied_seconds=occupied,
            peak_memory_bytes=peak_memory_bytes(self.device),
            curve=tuple(self.curve),
        )
        budget: Budget | None = getattr(self, "budget", None)
        if budget is not None and budget.steps:
            proxy = self.lease.proxy
            self._measured(
                steps=budget.steps,
                tokens=budget.steps * proxy.batch_size * proxy.sequence_length,
                training_seconds=budget.training_seconds,
                step_time_ms=1e3 * self.timer.step_seconds,
                step_time_spread_ms=1e3 * self.timer.spread_seconds,
                contention=self.timer.contention,
                utilisation=min(2.0, budget.training_seconds / occupied) if occupied else None,
            )
        # Revalidated, so that no NaN or negative number leaves as a measurement.
        measurements = Measurements.model_validate(self.measurements.model_dump())
        return Result(outcome=outcome, measurements=measurements, message=message[:2000])
