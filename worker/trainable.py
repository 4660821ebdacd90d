"""The Tune trainable: holds a slot, runs leases in a training process, keeps them alive, delivers.

A step waits at most a second for the result, so that Tune can stop the trial at any time.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from ray import tune

from search.errors import ControllerUnreachable, LeaseLost
from search.lease import Directive, Lease, Progress, Result
from search.trial import Outcome
from worker.client import LeaseClient
from worker.isolation import TrainingProcess
from worker.outbox import Outbox
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)
STEP_SECONDS = 1.0
GO_ON = Directive(action="continue")
LOST = "the lease was lost"


class LeaseTrainable(tune.Trainable):  # type: ignore[misc]
    """Runs one lease a trial; Tune reuses the actor for the next one."""

    def setup(self, config: dict[str, Any]) -> None:
        """Makes what outlives a trial and begins the first one."""
        self._settings = WorkerSettings.model_validate_json(config["settings"])
        self._client = LeaseClient(self._settings.url, self._settings.token)
        self._outbox = Outbox(self._settings.outbox_folder, self._client)
        self._process = TrainingProcess(self._settings, self._report)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins the next lease in the same actor."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Returns whether the trial is over, and its loss if it has one."""
        result = self._process.result(STEP_SECONDS)
        if result is None:
            return {"done": False}
        self._finish(result)
        return {"done": True, "validation_loss": result.measurements.validation_loss}

    def cleanup(self) -> None:
        """Ends a trial that still runs as preempted and lets go of everything."""
        if self._lease is not None:
            self._finish(self._process.preempt())
        self._process.kill()
        self._outbox.close()
        self._client.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Saves nothing: a trial's own checkpoint is made on preemption."""

    def _begin(self, config: dict[str, Any]) -> None:
        lease = Lease.model_validate_json(config["lease"])
        self._lease: Lease | None = lease
        self._stop_reason: str | None = None
        self._over = threading.Event()
        self._process.begin(lease)
        threading.Thread(
            target=self._heartbeats, args=(lease, self._over), name="heartbeat", daemon=True
        ).start()

    def _finish(self, result: Result) -> None:
        """Delivers the result, unless the controller has given the trial up."""
        lease, self._lease = self._lease, None
        self._over.set()
        if lease is None or self._stop_reason == LOST:
            return
        if self._stop_reason is not None and result.outcome == Outcome.PREEMPTED:
            pruned = self._stop_reason.startswith(("infeasible", "hurdle", "pruned"))
            outcome = Outcome.PRUNED if pruned else Outcome.CANCELLED
            result = result.model_copy(update={"outcome": outcome, "message": self._stop_reason})
        self._outbox.put(lease.lease_id, result)

    def _report(self, progress: Progress) -> Directive:
        """Returns the controller's answer to a point of the learning curve."""
        lease = self._lease
        if lease is None or self._stop_reason is not None:
            return Directive(action="stop", reason=self._stop_reason or "the trial is over")
        try:
            return self._client.progress(lease, progress)
        except LeaseLost:
            self._stop_reason = LOST
            return Directive(action="stop", reason=LOST)
        except ControllerUnreachable as error:
            log.warning("%s", error.message)
            return GO_ON  # a silent controller costs the lease at most, never the trial

    def _heartbeats(self, lease: Lease, over: threading.Event) -> None:
        """Keeps the lease alive, whatever the training process does."""
        while not over.wait(lease.lease_seconds / 3):
            directive = self._report(Progress(phase="alive"))
            if directive.action == "stop" and not over.is_set():
                self._stop_reason = self._stop_reason or directive.reason or "stopped"
                self._process.interrupt()
                return
