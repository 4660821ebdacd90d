"""A slot: claims leases, runs them one by one in a training process, delivers the results.

Its thread needs nobody between two leases, so a Tune loop that is busy with other slots costs none
of this one's time.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Sequence
from typing import Any

from brainformer.search.errors import BrainformerError
from brainformer.search.trials.lease_messages import (
    Directive,
    Lease,
    Progress,
    Result,
)
from brainformer.search.trials.trial import Outcome
from brainformer.worker.datasets.offered import DatasetHashes
from brainformer.worker.process.host import Host, HostProcess
from brainformer.worker.process.host_group import HostGroup
from brainformer.worker.process.isolation import TrainingProcess
from brainformer.worker.process.trial_runner import PREEMPTION_SECONDS, TrialRunner
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.slot.claims import Claims
from brainformer.worker.slot.compile_ahead import CompileAhead
from brainformer.worker.slot.controller_client import LeaseClient
from brainformer.worker.slot.held_lease import HeldLease
from brainformer.worker.slot.news import News, claimed, ended, lost
from brainformer.worker.slot.outbox import Outbox

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5  # between looks at whether to end
NOBODY = Directive.stop(Outcome.CANCELLED, "cancelled: the trial is over")


class Slot:
    """Runs leases for as long as a turn lasts; under loggers, a turn is one trial.

    Args:
        settings: Of the worker.
        others: The other hosts of its trials, where several share them.
        address: Of this host, as those reach it.
    """

    def __init__(
        self, settings: WorkerSettings, others: Sequence[Host] = (), *, address: str = ""
    ) -> None:
        self._settings = settings
        self._client = LeaseClient(settings.url, settings.token)
        self._outbox = Outbox(settings.outbox_folder, self._client, inherits=False)
        self._news = News()
        datasets = DatasetHashes(settings.data_folder)
        self._claims = Claims(settings, self._client, datasets, self._news)
        self._process = self._runner(others, address)
        self._ahead = CompileAhead(settings)
        self._held: HeldLease | None = None
        self._ended: dict[str, Any] = {}
        self._failure: Exception | None = None
        self._turn_ends: float | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slot", daemon=True)
        self._thread.start()

    def begin_turn(self, seconds: float) -> None:
        """Runs leases from now on; the last one is the one that `seconds` pass in."""
        with self._changed:
            self._turn_ends = time.monotonic() + seconds
            self._ended = {}
            self._changed.notify_all()

    def wait(self, seconds: float) -> tuple[bool, dict[str, Any]]:
        """Returns, after `seconds` or at the turn's end, whether it is over and the latest.

        Under "news" stand the sentences that were not told yet, under "refusal" why the controller
        no longer takes this worker, and under "refused_as" the code of that error.

        Raises:
            Exception: what ended the slot's thread, which should be impossible.
        """
        with self._changed:
            over = self._changed.wait_for(lambda: self._turn_ends is None, seconds)
            held, told = self._held, dict(self._ended)
        if self._failure is not None:
            raise self._failure
        told |= self._news.take()
        return over, told if held is None else told | _running_metrics(held)

    def close(self) -> None:
        """Ends a trial that still runs as preempted and lets go of everything."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=PREEMPTION_SECONDS + 4 * LOOK_SECONDS)
        self._claims.close()
        self._process.kill()
        self._ahead.close()
        self._outbox.close()
        self._client.close()

    def _runner(self, others: Sequence[Host], address: str) -> TrialRunner:
        if not others:
            return TrainingProcess(self._settings, self._report)
        hosts = [HostProcess(self._settings, self._report), *others]
        return HostGroup(self._settings, hosts, address=address, tell=self._apart)

    def _apart(self, why: str) -> None:
        """Tells why the hosts are not together; somebody else may have what was claimed."""
        self._news.tell(why)
        self._claims.put_off()

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._look()
            if self._held is not None:
                self._finish(self._held, self._process.preempt())
        except Exception as error:
            log.exception("the slot has failed")
            with self._changed:
                self._failure, self._turn_ends = error, None
                self._changed.notify_all()

    def _look(self) -> None:
        """Does what comes next, for at most a moment."""
        held = self._held
        if held is not None:
            result = self._process.result(LOOK_SECONDS)
            if result is not None:
                self._finish(held, result)
            elif self._ahead.wanted and (coming := self._claims.want()):
                self._ahead.begin(coming)
        elif self._turn_ends is None:
            with self._changed:
                self._changed.wait(LOOK_SECONDS)
        else:
            # Waiting for what is half compiled never took longer than compiling it again.
            ready = self._process.ready(LOOK_SECONDS) and self._ahead.done(LOOK_SECONDS)
            lease = self._claims.take(LOOK_SECONDS) if ready else None
            if lease is not None:
                self._begin(lease)
            elif (ready or self._settings.hosts > 1) and time.monotonic() >= self._turn_ends:
                self._end_turn({})  # a process comes soon, hosts perhaps never

    def _begin(self, lease: Lease) -> None:
        self._news.tell(claimed(lease))
        self._held = HeldLease(lease, self._client, self._process.interrupt)
        self._process.begin(lease)

    def _finish(self, held: HeldLease, result: Result) -> None:
        """Delivers the result, unless the controller has given the trial to somebody else."""
        self._held = None
        delivered = held.conclude(result)
        self._news.tell(lost(held.lease) if delivered is None else ended(held.lease, delivered))
        if delivered is not None:
            if delivered.outcome is not Outcome.PREEMPTED:
                folder = self._settings.checkpoint_folder(held.lease)
                shutil.rmtree(folder, ignore_errors=True)
            try:
                self._outbox.put(held.lease.lease_id, held.lease.search_id, delivered)
            except BrainformerError as error:
                log.warning("result of lease %s is lost: %s", held.lease.lease_id, error.message)
                self._news.tell(f"result of lease {held.lease.lease_id} is lost: {error.message}")
        told = _final_metrics(held.lease, result)
        if self._settings.loggers or time.monotonic() >= (self._turn_ends or 0.0):
            self._end_turn(told)
        else:
            self._ended = told

    def _end_turn(self, told: dict[str, Any]) -> None:
        with self._changed:
            self._ended, self._turn_ends = told, None
            self._changed.notify_all()

    def _report(self, progress: Progress) -> Directive:
        held = self._held
        return NOBODY if held is None else held.report(progress)


def _running_metrics(held: HeldLease) -> dict[str, Any]:
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
