"""Proxy training: one genome, one budget, one result. No Ray, no HTTP.

The order is the contract: compile, refuse what does not fit, warm up on dummy data, restore the
initial state, start the clock; evaluate at set fractions beside the clock; check causality; report.
A failed candidate is a result with a reason. What is not the candidate's doing is raised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax

from brainformer.search.cost.cost import activated_parameters
from brainformer.search.errors import DataMismatch
from brainformer.search.trials.lease_messages import (
    Directive,
    Lease,
    Progress,
    Result,
)
from brainformer.search.trials.trial import Outcome
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.datasets.dataset import Dataset
from brainformer.worker.devices.device_memory import memory_limit_bytes
from brainformer.worker.devices.hosts import HostLost, hosts_here
from brainformer.worker.timing.budget import Budget, StepBudget, WallBudget
from brainformer.worker.timing.clock import Clock, SystemClock
from brainformer.worker.timing.step_time import block_seconds
from brainformer.worker.training.attempt_log import AttemptLog
from brainformer.worker.training.checkpoint import (
    SavedProgress,
    SavingTimes,
    discard_checkpoint,
    read_progress,
    restore_state,
)
from brainformer.worker.training.evaluation import ValidationSet
from brainformer.worker.training.fitting import compile_here, first_that_fits, mesh_here
from brainformer.worker.training.layout import TrainingState
from brainformer.worker.training.program import Program, wait
from brainformer.worker.training.training_loop import Ended, TrainingLoop
from brainformer.worker.training.warm_up import WarmUp, warm_up


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
    save_every_seconds: float | None = None,
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
        save_every_seconds: At least between checkpoints that nobody asked for; None for none.

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
        save_every_seconds=save_every_seconds,
    )
    return attempt.run()


def compile_lease(
    lease: Lease,
    *,
    clock: Clock | None = None,
    cache_folder: Path | None = None,
    remat: bool = False,
) -> Program:
    """Returns the lease's compiled program; another process may do it ahead, into the cache.

    Raises:
        InvalidMesh: the devices that jax finds have no mesh for it.
    """
    return compile_here(
        lease.genome,
        lease.proxy,
        mesh_here(lease.genome, lease.proxy),
        seed=lease.seed,
        clock=clock or SystemClock(),
        cache_folder=cache_folder,
        remat=remat,
        whole_evaluation=lease.inference_time,
    )


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
    save_every_seconds: float | None

    def __post_init__(self) -> None:
        self.device = jax.devices()[0]
        self.hosts = hosts_here(self.lease.lease_id)
        self.record = AttemptLog(self.lease, self.device, self.clock)
        self.record.earlier_occupied_seconds = self.already_occupied_seconds
        self.loop: TrainingLoop | None = None

    def run(self) -> Result:
        """Returns how the attempt ended."""
        outcome, message = Outcome.COMPLETED, ""
        try:
            program = self._compile()
            self.hosts.together()  # before the first step that needs them all
            loop, state = self._start(program)
            state = loop.train(state)
            loop.check_causality(state)
            loop.measure_routing_gap(state)
        except Ended as end:
            outcome, message = end.outcome, end.message
        except HostLost as lost:
            outcome, message = Outcome.PREEMPTED, str(lost)
        folder = self.checkpoint_folder
        if folder is not None and outcome is not Outcome.PREEMPTED and self.hosts.first:
            discard_checkpoint(folder)
        budget = self.loop.budget if self.loop else None
        timer = self.loop.timer if self.loop else None
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
        mesh = mesh_here(self.lease.genome, proxy)
        self.record.measured(mesh=mesh, hosts=self.hosts.count)
        limit = self.hosts.agree(lambda: memory_limit_bytes(self.device))
        program, needed = first_that_fits(self._compiled, limit)
        if program is not None:
            return program
        raise Ended(
            Outcome.OUT_OF_MEMORY,
            f"the training step needs {needed / 2**30:.2f} GiB of memory even when blocks are "
            f"computed again, the device offers {limit / 2**30:.2f} GiB",
        )

    def _compiled(self, remat: bool) -> Program:
        """Returns the program, and notes what is known of it."""
        program = compile_lease(
            self.lease, clock=self.clock, cache_folder=self.cache_folder, remat=remat
        )
        spent = self.record.measurements.compile_seconds or 0.0
        self.record.measured(
            compile_seconds=spent + program.compile_seconds,
            parameters=program.parameters,
            activated_parameters=activated_parameters(self.lease.genome, self.lease.proxy),
            estimated_memory_bytes=program.memory_bytes,
            remat=remat or self.lease.proxy.remat == "always",
        )
        return program

    def _start(self, program: Program) -> tuple[TrainingLoop, TrainingState]:
        """Warms up, decides the budget and makes the state that training begins with."""
        earlier, saved = self._resumed(program)
        warm = warm_up(
            program,
            self.lease.proxy,
            self.data,
            clock=self.clock,
            platform=self.device.platform,
            cache_folder=self.cache_folder,
            decided=self.recorded_steps or (earlier.total_steps if earlier else None),
            hosts=self.hosts,
        )
        self.record.measured(clock=warm.clock_name)
        self.record.calibrated = warm.total_steps is not None and self.recorded_steps is None
        seconds = block_seconds(self.device.platform)
        self.loop = TrainingLoop(
            lease=self.lease,
            program=program,
            data=self.data,
            validation=ValidationSet(self.data, self.lease.proxy),
            record=self.record,
            budget=self._budget(warm, earlier),
            timer=warm.timer,
            clock=self.clock,
            hosts=self.hosts,
            on_progress=self.on_progress,
            stop=self.stop,
            checkpoint_folder=self.checkpoint_folder,
            saving=SavingTimes(self.clock, self.save_every_seconds),
            total_steps=warm.total_steps,
            block_steps=max(1, round(seconds / max(warm.step_seconds, 1e-9))),
        )
        if saved is None:
            return self.loop, program.initial()
        saved = program.restored(saved)
        wait(saved)  # as the initial one is, so that no two steps hold their temporaries
        return self.loop, saved

    def _resumed(self, program: Program) -> tuple[SavedProgress, TrainingState] | tuple[None, None]:
        """Returns what an earlier attempt left, its state on the host or on the mesh."""
        folder = self.checkpoint_folder
        if folder is None:
            return None, None
        lease = self.lease

        def newest() -> str | None:
            found = read_progress(folder, digest=lease.genome.digest, seed=lease.seed)
            return None if found is None else found.model_dump_json()

        text = self.hosts.agree(newest)
        if text is None:
            return None, None
        saved = SavedProgress.model_validate_json(text)
        restored = restore_state(folder, program.portable_shapes, arrays=saved.arrays)
        if restored is None:
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
