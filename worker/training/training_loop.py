"""The training of one attempt under its budget: blocks of steps, reports, saving, a last probe."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np

from brainformer.model.causality import PROBE_ROWS, forward_function, probe
from brainformer.model.decoder import Evaluation
from brainformer.search.trials.lease_messages import Directive, Lease, Progress
from brainformer.search.trials.trial import CurvePoint, Outcome
from brainformer.worker.datasets.dataset import Batch, Dataset
from brainformer.worker.devices.hosts import Hosts
from brainformer.worker.timing.budget import Budget
from brainformer.worker.timing.clock import Clock
from brainformer.worker.timing.step_time import StepTimer
from brainformer.worker.training.attempt_log import AttemptLog
from brainformer.worker.training.checkpoint import SavedProgress, SavingTimes, save_checkpoint
from brainformer.worker.training.evaluation import (
    FRACTIONS,
    SUSPICIOUS_MOVE,
    ValidationSet,
    prefix_move,
)
from brainformer.worker.training.layout import StepMetrics, TrainingState
from brainformer.worker.training.program import Program, wait

REFERENCE_EVERY = 0.04  # of the budget
INFERENCE_REPEATS = 5
GAP_BATCHES = 2


class Ended(Exception):
    """The attempt is over before its budget."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


@dataclass
class TrainingLoop:
    """What training needs once the warm-up is over.

    Attributes:
        hosts: Of the trial; what only one can know is agreed on, so that all do the same.
        on_progress: Asked on the first host alone.
        stop: Set when this host must end.
        block_steps: Steps between two looks at clock, losses and signal.
    """

    lease: Lease
    program: Program
    data: Dataset
    validation: ValidationSet
    record: AttemptLog
    budget: Budget
    timer: StepTimer
    clock: Clock
    hosts: Hosts
    on_progress: Callable[[Progress], Directive]
    stop: threading.Event
    checkpoint_folder: Path | None
    saving: SavingTimes
    total_steps: int | None
    block_steps: int

    def train(self, state: TrainingState) -> TrainingState:
        """Trains to each fraction in turn and reports there.

        Raises:
            Ended: the attempt is over earlier.
        """
        budget, next_reference = self.budget, self.budget.fraction
        reported = {point.fraction for point in self.record.curve}
        metrics: StepMetrics | None = None
        for target in FRACTIONS:
            while budget.fraction < target:
                self._obey_signals(state)
                count = min(self.block_steps, budget.steps_until(target))
                state, metrics = self._block(state, count)
                if budget.fraction >= next_reference:
                    self.timer.run_reference(after_block=True)
                    next_reference += REFERENCE_EVERY
            if target not in reported and metrics is not None:
                self._report(state, metrics, target)
        return state

    def _obey_signals(self, state: TrainingState) -> None:
        """Saves the state where one is due, and ends the attempt where a host must end."""
        if self.stop.is_set():
            self.hosts.ask_to_stop()

        def word() -> str:
            if self.stop.is_set() or self.hosts.asked_to_stop():
                return "stop"
            return "save" if self.saving.due else ""

        said = self.hosts.agree(word)
        if said == "stop":
            self._preempt(state)
        elif said == "save":
            self._save(state)

    def _block(self, state: TrainingState, count: int) -> tuple[TrainingState, StepMetrics]:
        """Runs `count` training steps under the clock."""
        budget = self.budget

        def steps() -> tuple[TrainingState, StepMetrics]:
            after = state
            for ahead in range(count):
                fraction = np.float32(budget.step_fraction(ahead))
                after, metrics = self.program.step(after, self._batch(ahead), fraction)
            wait(metrics)
            return after, metrics

        (state, metrics), taken = self.timer.run(steps, count)
        budget.record(count, self.hosts.agree(lambda: taken))
        loss = float(metrics.cross_entropy)
        if not math.isfinite(loss):
            raise Ended(Outcome.DIVERGED, f"the training loss is {loss} at step {budget.steps}")
        self.record.add_loss(loss)
        return state, metrics

    def _batch(self, ahead: int) -> Batch:
        """Returns the tokens of a step to come."""
        proxy = self.lease.proxy
        return self.data.train.batch(
            seed=self.lease.seed,
            step=self.budget.steps + ahead,
            batch_size=proxy.batch_size,
            length=proxy.sequence_length + 1,
        )

    def _report(self, state: TrainingState, metrics: StepMetrics, target: float) -> None:
        """Evaluates beside the clock, reports the point and obeys the answer."""
        seen: list[Evaluation] = []

        def losses(tokens: Batch) -> jax.Array:
            seen.append(self.program.evaluate(state, tokens))
            return seen[-1].losses

        loss = self.validation.loss(losses, sketch=target < FRACTIONS[-1])
        if not math.isfinite(loss):
            raise Ended(Outcome.DIVERGED, f"the validation loss is {loss}")
        point = self.record.add_point(
            target,
            budget=self.budget,
            validation_loss=loss,
            metrics=metrics,
            bytes_per_token=self.data.manifest.bytes_per_token,
        )
        if target == FRACTIONS[-1] and self._routes:
            self.record.add_routing(
                drops=[float(one.drop_fraction) for one in seen],
                experts=[float(one.experts_per_token) for one in seen],
            )
        if self.lease.inference_time and self.record.measurements.inference_time_ms is None:
            self._measure_inference(state)
        if target < FRACTIONS[-1]:
            self._obey(point)

    def _measure_inference(self, state: TrainingState) -> None:
        """Measures one evaluation batch: the forward pass under the rule of export."""
        tokens = self.validation.batches[0]
        seconds = self.timer.measure(
            lambda: wait(self.program.evaluate(state, tokens)), INFERENCE_REPEATS
        )
        self.record.measured(inference_time_ms=1e3 * seconds)

    def measure_routing_gap(self, state: TrainingState) -> None:
        """Measures how much worse the causal rule is than the rule of training, on the same tokens.

        Training's rule comes with a training step, so the trained state is used up.
        """
        if not self._routes:
            return
        gaps = []
        for ahead in range(GAP_BATCHES):
            tokens = self._batch(ahead)
            causal = float(np.mean(self.program.evaluate(state, tokens).losses))
            state, metrics = self.program.step(state, tokens, np.float32(FRACTIONS[-1]))
            gaps.append(causal - float(metrics.cross_entropy))
        self.record.measured(routing_gap=float(np.mean(gaps)))

    @property
    def _routes(self) -> bool:
        return any(layer.kind == "moe" for layer in self.lease.genome.layers)

    def _obey(self, point: CurvePoint) -> None:
        """Tells the controller and ends the attempt if it says so."""
        progress = Progress(
            point=point,
            step_time_ms=1e3 * self.timer.step_seconds,
            inference_time_ms=self.record.measurements.inference_time_ms,
            phase="training",
        )
        answer = self.hosts.agree(lambda: self.on_progress(progress).model_dump())
        directive = Directive.model_validate(answer)
        if directive.action == "stop":
            raise Ended(directive.stopped_as, directive.reason)

    def _preempt(self, state: TrainingState) -> NoReturn:
        """Saves where the attempt stands and ends it."""
        self._save(state)
        raise Ended(Outcome.PREEMPTED, f"asked to stop after {self.budget.steps} steps")

    def _save(self, state: TrainingState) -> None:
        """Saves where the attempt stands, if there is a place for it."""
        if self.checkpoint_folder is None:
            return
        start = self.clock.now()
        progress = SavedProgress(
            digest=self.lease.genome.digest,
            seed=self.lease.seed,
            steps=self.budget.steps,
            total_steps=self.total_steps,
            training_seconds=self.budget.training_seconds,
            occupied_seconds=self.record.occupied_seconds,
            curve=tuple(self.record.curve),
        )
        portable = self.program.portable(state)
        save_checkpoint(self.checkpoint_folder, portable, progress, hosts=self.hosts)
        self.saving.saved(self.clock.now() - start)

    def check_causality(self, state: TrainingState) -> None:
        """Ends the attempt if the trained model's predictions depend on later tokens.

        Raises:
            Ended: they do.
        """
        proxy = self.lease.proxy
        if proxy.routing == "paper":
            return  # the labelled reproduction of a rule that leaks
        move = prefix_move(
            lambda tokens: self.program.evaluate(state, tokens).losses,
            self.validation.batches[0],
            vocab_size=proxy.vocab_size,
        )
        if move <= SUSPICIOUS_MOVE:
            return
        placement = self.program.placement
        with placement.tracing():
            decoder = self.program.decoder(state)
            report = probe(
                decoder,
                key=jax.random.key(0),
                batch_size=placement.rows_for(PROBE_ROWS),
                forward=placement.forward(forward_function(decoder, training=False)),
            )
        if not report.causal:
            raise Ended(Outcome.LEAKS_FUTURE, str(report))
