"""The Tune trainable: a slot's turn. It claims leases, runs them one by one, delivers the results.

A step waits at most a second, so that Tune can stop the turn at any time.
"""

from __future__ import annotations

import logging
import shutil
import time
from typing import Any

from ray import tune

from search.errors import BrainformerError
from search.lease import Directive, Lease, Progress, Result
from search.trial import Outcome
from worker.claims import Claims
from worker.client import LeaseClient
from worker.compile_ahead import CompileAhead
from worker.held_lease import HeldLease
from worker.isolation import TrainingProcess
from worker.local_datasets import DatasetHashes
from worker.outbox import Outbox
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)
STEP_SECONDS = 1.0
NOBODY = Directive(action="stop", reason="cancelled: the trial is over")


class LeaseTrainable(tune.Trainable):  # type: ignore[misc]
    """Runs leases for as long as its turn lasts; Tune reuses the actor for the next turn."""

    def setup(self, config: dict[str, Any], settings: WorkerSettings) -> None:
        """Makes what outlives a turn.

        The settings hold the token, so they do not come with the config, which loggers write down.
        Nothing is claimed before the first step: Tune may yet give the turn to another actor.
        """
        settings.make_folders()  # this may be another machine than the dispatcher's
        self._settings = settings
        self._turn_ends = time.monotonic() + config["turn_seconds"]
        self._client = LeaseClient(settings.url, settings.token)
        self._outbox = Outbox(settings.outbox_folder, self._client)
        self._claims = Claims(settings, self._client, DatasetHashes(settings.data_folder))
        self._process = TrainingProcess(settings, self._report)
        self._ahead = CompileAhead(settings)
        self._held: HeldLease | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins the next turn in the same actor."""
        self._turn_ends = time.monotonic() + new_config["turn_seconds"]
        return True

    def step(self) -> dict[str, Any]:
        """Returns the latest of the running trial, and `done` once the turn is over."""
        end = time.monotonic() + STEP_SECONDS
        told: dict[str, Any] = {}
        while not told.get("done") and (left := end - time.monotonic()) > 0:
            held = self._held
            if held is None:
                # To wait for what is half compiled is never longer than to compile it anew.
                lease = self._claims.take(left) if self._ahead.done(left) else None
                if lease is not None:
                    self._begin(lease)
            elif (result := self._process.result(left)) is not None:
                self._finish(held, result)
                told = {**_final_metrics(held.lease, result), "done": self._turn_is_over()}
        held = self._held
        return (
            {"done": False, **told} if held is None else {"done": False, **told, **_metrics(held)}
        )

    def cleanup(self) -> None:
        """Ends a trial that still runs as preempted and lets go of everything."""
        self._claims.close()
        if self._held is not None:
            self._finish(self._held, self._process.preempt())
        self._process.kill()
        self._ahead.close()
        self._outbox.close()
        self._client.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Saves nothing: a trial's own checkpoint is made on preemption."""

    def _turn_is_over(self) -> bool:
        """Returns whether to end the turn; under loggers, a turn is one trial."""
        return bool(self._settings.loggers) or time.monotonic() >= self._turn_ends

    def _begin(self, lease: Lease) -> None:
        self._held = HeldLease(lease, self._client, self._process.interrupt)
        self._process.begin(lease)

    def _finish(self, held: HeldLease, result: Result) -> None:
        self._held = None
        delivered = held.conclude(result)
        if delivered is None:
            return
        if delivered.outcome is not Outcome.PREEMPTED:
            shutil.rmtree(self._settings.checkpoint_folder(held.lease), ignore_errors=True)
        try:
            self._outbox.put(held.lease.lease_id, held.lease.search_id, delivered)
        except BrainformerError as error:
            log.warning("result of lease %s is lost: %s", held.lease.lease_id, error.message)

    def _report(self, progress: Progress) -> Directive:
        held = self._held
        return NOBODY if held is None else held.report(progress)


def _metrics(held: HeldLease) -> dict[str, Any]:
    """Returns what Tune's loggers show of a running trial, and the searcher knows it by."""
    values = {"lease": held.lease.lease_id, "search": held.lease.search_id}
    if held.latest is None or held.latest.point is None:
        return values
    point = held.latest.point
    return {**values, **point.model_dump(exclude_none=True), "timesteps_total": point.step}


def _final_metrics(lease: Lease, result: Result) -> dict[str, Any]:
    values = result.measurements.model_dump(exclude_none=True, exclude={"curve", "expert_load"})
    return {
        **values,
        "timesteps_total": result.measurements.steps or 0,
        "outcome": result.outcome.value,
        "trial_number": lease.trial_number,
        "genome": lease.genome.canonical(),
        "lease": "",
    }
