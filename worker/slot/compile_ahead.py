"""Compiling ahead: the next genome's program is made while the present one trains.

A process of the slot's own, on cores of its own, fills the compilation cache; the training process
then loads from it what it would have compiled. A claim is made earlier for it, by one trial.
"""

from __future__ import annotations

from brainformer.search.trials.lease_messages import GO_ON, Directive, Lease, Progress
from brainformer.worker.process.isolation import TrainingProcess
from brainformer.worker.settings import WorkerSettings


class CompileAhead:
    """Compiles one lease at a time; does nothing where the settings do not ask for it."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.wanted = settings.compile_ahead and settings.runner == "train"
        self._process = TrainingProcess(
            settings.model_copy(update={"runner": "compile"}), _nobody_asks
        )
        self._last = ""
        self._busy = False

    def begin(self, lease: Lease) -> None:
        """Compiles the lease's program unless that has been asked for already."""
        if lease.lease_id == self._last or not self.done(0.0):
            return
        self._last = lease.lease_id
        self._busy = True
        self._process.begin(lease)

    def done(self, timeout: float) -> bool:
        """Returns whether nothing is being compiled, or has been within `timeout` seconds.

        How a compilation ended does not matter: the trial will meet the same end itself.
        """
        if self._busy and self._process.result(timeout) is not None:
            self._busy = False
        return not self._busy

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()


def _nobody_asks(_progress: Progress) -> Directive:
    return GO_ON
