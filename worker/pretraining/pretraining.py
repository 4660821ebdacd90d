"""Training for as long as its user likes: steps in blocks, and what lies between two blocks.

What a step sees depends on its number alone: its batch on (seed, step), its learning rate on
(plan, step). So a run that dies and goes on from its last checkpoint ends where it would have
ended; on a CPU with the same number of cores, bit for bit. Clocks decide when to look, to judge and
to save, which changes nothing of what is trained. A run by the clock is the exception: the clock
decides when its decay begins, and a checkpoint holds the decision before anything follows from it.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from brainformer.search.cost.cost import flops_per_token
from brainformer.search.errors import TrainingDiverged
from brainformer.worker.datasets.dataset import Dataset
from brainformer.worker.datasets.tokenizers import Tokenizer
from brainformer.worker.devices.hosts import Hosts
from brainformer.worker.pretraining.intervals import Due, Every
from brainformer.worker.pretraining.manifest import CheckpointManifest
from brainformer.worker.pretraining.peak import peak_of
from brainformer.worker.pretraining.plan import TrainingPlan
from brainformer.worker.pretraining.progress import Beginning, Meter, Observer
from brainformer.worker.pretraining.run_folder import RunFolder
from brainformer.worker.timing.clock import Clock
from brainformer.worker.timing.step_time import block_seconds
from brainformer.worker.training.evaluation import ValidationSet, bits_per_byte
from brainformer.worker.training.layout import TrainingState
from brainformer.worker.training.program import Program, wait

# Of the time at most for validations, and as much for checkpoints with theirs, by the clock.
SHARE = 0.0075


@dataclass(frozen=True)
class Intervals:
    """When to judge, to save and to report.

    Attributes:
        validate: On the validation split.
        save: A checkpoint, which is judged first.
        report: A line, and a point for trackers.
        keep: Newest checkpoints that stay, beside the best and that where the decay began.
    """

    validate: Every = field(default_factory=lambda: Every(seconds=60.0))
    save: Every = field(default_factory=lambda: Every(seconds=600.0))
    report: Every = field(default_factory=lambda: Every(seconds=10.0))
    keep: int = 3


class Position(NamedTuple):
    """Where a run has got to.

    Attributes:
        elapsed_seconds: Of all processes before this one.
        run: Its identity.
    """

    step: int = 0
    elapsed_seconds: float = 0.0
    run: str = ""


class Ending(NamedTuple):
    """How a run ended here.

    Attributes:
        why: The plan is fulfilled, or a signal came.
    """

    why: Literal["completed", "stopped"]
    step: int
    checkpoint: Path
    validation_loss: float | None
    bits_per_byte: float | None
    plan: TrainingPlan


class _Judgement(NamedTuple):
    step: int
    loss: float
    bits_per_byte: float


@dataclass
class Pretraining:
    """One process's part of a run.

    Attributes:
        tokenizer: Kept with every checkpoint; None where nobody has it.
        stop: Set when the process should save and end.
    """

    plan: TrainingPlan
    program: Program
    data: Dataset
    folder: RunFolder
    position: Position
    intervals: Intervals
    observers: Sequence[Observer]
    hosts: Hosts
    clock: Clock
    stop: threading.Event
    tokenizer: Tokenizer | None = None
    _judged: _Judgement | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.step = self.position.step
        self.run_id = self.position.run or self.hosts.agree(lambda: uuid.uuid4().hex)
        self.validation = ValidationSet(self.data, self.plan.proxy)
        self._saved_step: int | None = self.step if self.position.run else None

    def train(self, state: TrainingState) -> Ending:
        """Trains until the plan is fulfilled or somebody asks to stop; saves either way.

        Raises:
            TrainingDiverged: a loss is not finite; no checkpoint holds what came of it.
            EnvironmentProblem: a checkpoint cannot be written; those before are untouched.
        """
        self._block_seconds = block_seconds(self.program.placement.platform)
        beginning = self._beginning()
        self.meter = Meter(beginning, self.clock, self.position.elapsed_seconds)
        if self._saved_step is None:
            self._save(state)  # what cannot be written is noticed now, not in an hour
        self.due = {
            name: Due(getattr(self.intervals, name), self.clock, self.step, share=share)
            for name, share in (("validate", SHARE), ("save", SHARE), ("report", 1.0))
        }
        for observer in self.observers:
            observer.began(beginning)
        try:
            why = self._until_over(state)
        finally:
            for observer in self.observers:
                observer.ended()
        return why

    def _until_over(self, state: TrainingState) -> Ending:
        while True:
            said = self.hosts.agree(self._word)
            if said == "end":
                if self.plan.total_steps is None:
                    self.plan = self.plan.ending_at(self.step)
                self._judge(state)
            if said == "decay":
                self.plan = self.plan.decaying_from(self.step)
                self._judge(state)
            begun = self.clock.now()
            if said in {"validate", "save"}:
                self._judge(state)
            if said in {"end", "stop", "decay", "save"}:
                self._save(state)
                self.due["save"].done(self.step, self.clock.now() - begun)
            if said in {"end", "stop"}:
                return self._ending("completed" if said == "end" else "stopped")
            state = self._block(state)

    def _word(self) -> str:
        """Returns, on the first host, what comes before the next block."""
        plan = self.plan
        if plan.total_steps is not None and self.step >= plan.total_steps:
            return "end"
        if self.stop.is_set() or self.hosts.asked_to_stop():
            return "stop"
        if plan.total_steps is None and self._decay_is_due():
            return "end" if plan.schedule == "constant" else "decay"
        if self.step == plan.decay_start and self._saved_step != self.step:
            return "save"  # where a longer run would go on
        for name in ("save", "validate"):
            if self.due[name].is_due(self.step):
                return name
        return ""

    def _decay_is_due(self) -> bool:
        """Returns whether a run by the clock has spent what comes before its decay."""
        share = self.plan.decay_share if self.plan.schedule == "wsd" else 0.0
        left = 3600.0 * (self.plan.hours or 0.0) * (1.0 - share)
        return self.step > self.position.step and self.meter.elapsed_seconds >= left

    def _block(self, state: TrainingState) -> TrainingState:
        """Runs some steps and tells how they went."""
        if self.stop.is_set():
            self.hosts.ask_to_stop()
        proxy, plan, first = self.plan.proxy, self.plan, self.step
        count = self.hosts.agree(self._steps_ahead)
        losses = []
        start = self.clock.now()
        for step in range(first, first + count):
            tokens = self.data.train.batch(
                seed=plan.seed,
                step=step,
                batch_size=proxy.batch_size,
                length=proxy.sequence_length + 1,
            )
            state, metrics = self.program.step(state, tokens, plan.rate(step))
            losses.append(metrics.cross_entropy)
        wait(metrics)
        self.meter.block(count, self.clock.now() - start)
        self.step += count
        self._tell([float(loss) for loss in losses], float(metrics.gradient_norm))
        return state

    def _steps_ahead(self) -> int:
        """Returns how many steps to run until the next look: none goes past a boundary."""
        seconds = self.meter.step_seconds
        wanted = max(1, round(self._block_seconds / seconds)) if seconds else 1
        plan = self.plan
        ends = [plan.total_steps, plan.decay_start, *(due.next_step for due in self.due.values())]
        return min([wanted, *(end - self.step for end in ends if end and end > self.step)])

    @property
    def _what_to_do(self) -> str:
        """What a user may do about a loss that is not finite."""
        return (
            f"checkpoints in {self.folder.folder} hold what came before it; try a lower "
            "--learning-rate or more --warmup-steps"
        )

    def _tell(self, losses: list[float], norm: float) -> None:
        for back, loss in enumerate(reversed(losses)):
            if not math.isfinite(loss):
                raise TrainingDiverged(self.step - back, loss, self._what_to_do)
        status = self.meter.status(
            self.plan,
            self.step,
            loss=float(np.mean(losses)),
            rate=float(self.plan.rate(self.step - 1)),
            norm=norm,
        )
        due = self.due["report"].is_due(self.step)
        if due:
            self.due["report"].done(self.step, 0.0)
        for observer in self.observers:
            observer.trained(status, due=due)

    @property
    def _judged_here(self) -> _Judgement | None:
        """What validation found at this very step."""
        judged = self._judged
        return judged if judged is not None and judged.step == self.step else None

    def _judge(self, state: TrainingState) -> None:
        """Judges the model on the validation split, once a step at most."""
        if self._judged_here:
            return
        start = self.clock.now()
        loss = self.validation.loss(lambda tokens: self.program.evaluate(state, tokens).losses)
        if not math.isfinite(loss):
            raise TrainingDiverged(self.step, loss, self._what_to_do, split="validation")
        bits = bits_per_byte(loss, self.data.manifest.bytes_per_token)
        self._judged = _Judgement(self.step, loss, bits)
        self.due["validate"].done(self.step, self.clock.now() - start)
        for observer in self.observers:
            observer.validated(self.step, loss, bits)

    def _save(self, state: TrainingState) -> None:
        """Writes a checkpoint, unless this step has one."""
        if self._saved_step == self.step:
            return
        start = self.clock.now()
        judged = self._judged_here
        manifest = CheckpointManifest(
            digest=self.plan.genome.digest,
            plan=self.plan,
            run=self.run_id,
            step=self.step,
            elapsed_seconds=self.meter.elapsed_seconds,
            validation_loss=judged.loss if judged else None,
            bits_per_byte=judged.bits_per_byte if judged else None,
        )
        place = self.folder.write(
            self.program.portable(state), manifest, self.tokenizer, self.hosts
        )
        self._saved_step = self.step
        if self.hosts.first:
            self.folder.prune(keep=self.intervals.keep)
        seconds = self.clock.now() - start
        for observer in self.observers:
            observer.saved(self.step, place, seconds)

    def _ending(self, why: Literal["completed", "stopped"]) -> Ending:
        judged = self._judged_here
        return Ending(
            why,
            self.step,
            self.folder.newest(),
            judged.loss if judged else None,
            judged.bits_per_byte if judged else None,
            self.plan,
        )

    def _beginning(self) -> Beginning:
        placement, plan = self.program.placement, self.plan
        auto = "float32" if placement.platform == "cpu" else "bfloat16"
        dtype = auto if plan.proxy.precision == "auto" else plan.proxy.precision
        peak = peak_of(placement.devices, dtype=dtype, clock=self.clock)
        kind = placement.devices[0].device_kind
        return Beginning(
            plan=plan,
            run=self.run_id,
            step=self.step,
            parameters=self.program.parameters,
            flops_per_token=flops_per_token(plan.genome, plan.proxy),
            peak_flops=peak.flops_per_second,
            peak_source=peak.source,
            devices=f"{len(placement.devices)} x {kind}",
        )
