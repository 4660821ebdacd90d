"""Proxy training: one genome, one budget, one result. No Ray, no HTTP.

The order is the contract: compile, refuse what does not fit, warm up on dummy data, restore the
initial state, start the clock; evaluate at set fractions beside the clock; check causality; report.
A failed candidate is a result with a reason. What is not the candidate's doing is raised.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from brainformer.model.causality import probe
from brainformer.model.config import ModelConfig
from brainformer.search.cost.cost import activated_parameters
from brainformer.search.errors import DataMismatch
from brainformer.search.trials.lease_messages import (
    Directive,
    Lease,
    Progress,
    Result,
)
from brainformer.search.trials.trial import CurvePoint, Outcome
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.datasets.dataset import Dataset
from brainformer.worker.timing.budget import Budget, StepBudget, WallBudget
from brainformer.worker.timing.clock import Clock, SystemClock
from brainformer.worker.timing.step_time import StepTimer
from brainformer.worker.training.attempt_log import AttemptLog
from brainformer.worker.training.checkpoint import (
    SavedProgress,
    discard_checkpoint,
    read_progress,
    restore_state,
    save_checkpoint,
)
from brainformer.worker.training.device_memory import memory_limit_bytes
from brainformer.worker.training.evaluation import (
    FRACTIONS,
    SUSPICIOUS_MOVE,
    ValidationSet,
    prefix_move,
)
from brainformer.worker.training.program import (
    Program,
    StepMetrics,
    TrainingState,
    compile_program,
    wait,
)
from brainformer.worker.training.warm_up import WarmUp, warm_up

# Between looks at the clock, the losses and the stop signal. An accelerator stands still from the
# end of a block until the next one's first step reaches it: 5 to 10 ms.
BLOCK_SECONDS = {"cpu": 0.1, "accelerator": 0.5}
REFERENCE_EVERY = 0.04  # of the budget
INFERENCE_REPEATS = 5


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
    already_occupied_seconds: float = 0.0,
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
        already_occupied_seconds: What the slot has spent on this lease before the call, for
            instance to start the process.

    Returns:
        The result: completed; pruned, infeasible or cancelled on the controller's word;
        out_of_memory, diverged or leaks_future; preempted.

    Raises:
        InvalidData: the data set does not fit the proxy.
        DataMismatch: the data set is not the one that the search recorded.
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
        already_occupied_seconds=already_occupied_seconds,
    )
    return attempt.run()


def compile_lease(
    lease: Lease, *, clock: Clock | None = None, cache_folder: Path | None = None
) -> Program:
    """Returns the lease's compiled program; another process may do it ahead, into the cache."""
    config = ModelConfig.of_proxy(lease.genome, lease.proxy, platform=jax.devices()[0].platform)
    return compile_program(
        config,
        lease.proxy,
        seed=lease.seed,
        clock=clock or SystemClock(),
        cache_folder=cache_folder,
        whole_evaluation=lease.inference_time,
    )


class _Ended(Exception):
    """The attempt is over before its budget."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


@dataclass
class _Session:
    """What training needs once the warm-up is over."""

    program: Program
    validation: ValidationSet
    budget: Budget
    timer: StepTimer
    total_steps: int | None
    block_steps: int


@dataclass
class _Attempt:
    """The phases of one attempt, in order."""

    lease: Lease
    on_progress: Callable[[Progress], Directive]
    data: Dataset
    clock: Clock
    cache_folder: Path | None
    checkpoint_folder: Path | None
    stop: threading.Event
    recorded_steps: int | None
    already_occupied_seconds: float

    def __post_init__(self) -> None:
        self.device = jax.devices()[0]
        self.record = AttemptLog(self.lease, self.device, self.clock)
        self.record.earlier_occupied_seconds = self.already_occupied_seconds
        self.session: _Session | None = None

    def run(self) -> Result:
        """Returns how the attempt ended."""
        outcome, message = Outcome.COMPLETED, ""
        try:
            program = self._compile()
            session, state = self._start(program)
            state = self._train(session, state)
            self._check_causality(session, state)
        except _Ended as end:
            outcome, message = end.outcome, end.message
        if self.checkpoint_folder is not None and outcome is not Outcome.PREEMPTED:
            discard_checkpoint(self.checkpoint_folder)
        budget = self.session.budget if self.session else None
        timer = self.session.timer if self.session else None
        return self.record.result(outcome, message, budget=budget, timer=timer)

    def _compile(self) -> Program:
        """Compiles; ends the attempt if the program needs more memory than there is."""
        proxy, manifest = self.lease.proxy, self.data.manifest
        if proxy.dataset_hash not in {None, manifest.hash}:
            raise DataMismatch(manifest.id, str(proxy.dataset_hash), manifest.hash)
        self.data.check_fits(
            vocab_size=proxy.vocab_size,
            batch_size=proxy.batch_size,
            length=proxy.sequence_length + 1,
        )
        program = compile_lease(self.lease, clock=self.clock, cache_folder=self.cache_folder)
        self.record.measured(
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

    def _start(self, program: Program) -> tuple[_Session, TrainingState]:
        """Warms up, decides the budget and makes the state that training begins with."""
        earlier, saved = self._resumed(program.shapes)
        warm = warm_up(
            program,
            self.lease.proxy,
            self.data,
            clock=self.clock,
            platform=self.device.platform,
            cache_folder=self.cache_folder,
            decided=self.recorded_steps or (earlier.total_steps if earlier else None),
        )
        self.record.measured(clock=warm.clock_name)
        block_seconds = BLOCK_SECONDS["cpu" if self.device.platform == "cpu" else "accelerator"]
        self.session = _Session(
            program=program,
            validation=ValidationSet(self.data, self.lease.proxy),
            budget=self._budget(warm, earlier),
            timer=warm.timer,
            total_steps=warm.total_steps,
            block_steps=max(1, round(block_seconds / max(warm.step_seconds, 1e-9))),
        )
        if saved is None:
            return self.session, program.initial()
        state = jax.tree.map(jnp.array, saved)
        wait(state)  # as the initial one is, so that no two steps hold their temporaries
        return self.session, state

    def _resumed(
        self, shapes: TrainingState
    ) -> tuple[SavedProgress, TrainingState] | tuple[None, None]:
        """Returns what an earlier attempt left, its state on the host."""
        if self.checkpoint_folder is None:
            return None, None
        lease = self.lease
        saved = read_progress(self.checkpoint_folder, digest=lease.genome.digest, seed=lease.seed)
        restored = restore_state(self.checkpoint_folder, shapes) if saved else None
        if saved is None or restored is None:
            return None, None
        self.record.curve = list(saved.curve)
        self.record.earlier_occupied_seconds += saved.occupied_seconds
        return saved, restored

    def _budget(self, warm: WarmUp, earlier: SavedProgress | None) -> Budget:
        steps = earlier.steps if earlier else 0
        seconds = earlier.training_seconds if earlier else 0.0
        if warm.total_steps is not None:
            return StepBudget(warm.total_steps, steps=steps, training_seconds=seconds)
        return WallBudget(
            self.lease.proxy.budget_seconds,
            step_seconds=warm.step_seconds,
            steps=steps,
            training_seconds=seconds,
        )

    def _train(self, session: _Session, state: TrainingState) -> TrainingState:
        """Trains to each fraction in turn and reports there."""
        budget, next_reference = session.budget, session.budget.fraction
        reported = {point.fraction for point in self.record.curve}
        metrics: StepMetrics | None = None
        for target in FRACTIONS:
            while budget.fraction < target:
                if self.stop.is_set():
                    self._preempt(session, state)
                count = min(session.block_steps, budget.steps_until(target))
                state, metrics = self._block(session, state, count)
                if budget.fraction >= next_reference:
                    session.timer.run_reference()
                    next_reference += REFERENCE_EVERY
            if target not in reported and metrics is not None:
                self._report(session, state, metrics, target)
        return state

    def _block(
        self, session: _Session, state: TrainingState, count: int
    ) -> tuple[TrainingState, StepMetrics]:
        """Runs `count` training steps under the clock."""
        proxy, budget = self.lease.proxy, session.budget

        def steps() -> tuple[TrainingState, StepMetrics]:
            after = state
            for ahead in range(count):
                tokens = self.data.train.batch(
                    seed=self.lease.seed,
                    step=budget.steps + ahead,
                    batch_size=proxy.batch_size,
                    length=proxy.sequence_length + 1,
                )
                fraction = np.float32(budget.step_fraction(ahead))
                after, metrics = session.program.step(after, tokens, fraction)
            wait(metrics)
            return after, metrics

        (state, metrics), seconds = session.timer.run(steps, count)
        budget.record(count, seconds)
        loss = float(metrics.cross_entropy)
        if not math.isfinite(loss):
            raise _Ended(Outcome.DIVERGED, f"the training loss is {loss} at step {budget.steps}")
        self.record.add_loss(loss)
        return state, metrics

    def _report(
        self, session: _Session, state: TrainingState, metrics: StepMetrics, target: float
    ) -> None:
        """Evaluates beside the clock, reports the point and obeys the answer."""
        loss = session.validation.loss(
            lambda tokens: session.program.evaluate(state, tokens),
            sketch=target < FRACTIONS[-1],
        )
        if not math.isfinite(loss):
            raise _Ended(Outcome.DIVERGED, f"the validation loss is {loss}")
        point = self.record.add_point(
            target,
            budget=session.budget,
            validation_loss=loss,
            metrics=metrics,
            bytes_per_token=self.data.manifest.bytes_per_token,
        )
        if self.lease.inference_time and self.record.measurements.inference_time_ms is None:
            self._measure_inference(session, state)
        if target < FRACTIONS[-1]:
            self._obey(session, point)

    def _measure_inference(self, session: _Session, state: TrainingState) -> None:
        """Measures one evaluation batch: the forward pass under the rule of export."""
        tokens = session.validation.batches[0]
        seconds = session.timer.measure(
            lambda: wait(session.program.evaluate(state, tokens)), INFERENCE_REPEATS
        )
        self.record.measured(inference_time_ms=1e3 * seconds)

    def _obey(self, session: _Session, point: CurvePoint) -> None:
        """Tells the controller and ends the attempt if it says so."""
        directive = self.on_progress(
            Progress(
                point=point,
                step_time_ms=1e3 * session.timer.step_seconds,
                inference_time_ms=self.record.measurements.inference_time_ms,
                phase="training",
            )
        )
        if directive.action == "stop":
            raise _Ended(directive.stopped_as, directive.reason)

    def _preempt(self, session: _Session, state: TrainingState) -> None:
        """Saves where the attempt stands and ends it."""
        budget = session.budget
        if self.checkpoint_folder is not None:
            progress = SavedProgress(
                digest=self.lease.genome.digest,
                seed=self.lease.seed,
                steps=budget.steps,
                total_steps=session.total_steps,
                training_seconds=budget.training_seconds,
                occupied_seconds=self.record.occupied_seconds,
                curve=tuple(self.record.curve),
            )
            save_checkpoint(self.checkpoint_folder, state, progress)
        raise _Ended(Outcome.PREEMPTED, f"asked to stop after {budget.steps} steps")

    def _check_causality(self, session: _Session, state: TrainingState) -> None:
        """Ends the attempt if the trained model's predictions depend on later tokens."""
        proxy = self.lease.proxy
        if proxy.routing == "paper":
            return  # the labelled reproduction of a rule that leaks
        move = prefix_move(
            lambda tokens: session.program.evaluate(state, tokens),
            session.validation.batches[0],
            vocab_size=proxy.vocab_size,
        )
        if move <= SUSPICIOUS_MOVE:
            return
        report = probe(session.program.decoder(state), key=jax.random.key(0))
        if not report.causal:
            raise _Ended(Outcome.LEAKS_FUTURE, str(report))
