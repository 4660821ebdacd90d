"""A lease that a slot runs: kept alive by a thread, reported on, given up when told to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from brainformer.search.errors import LeaseLost
from brainformer.search.trials.lease_messages import (
    GO_ON,
    Directive,
    Lease,
    Progress,
    Result,
)
from brainformer.search.trials.trial import Outcome
from brainformer.worker.slot.controller_client import LeaseClient

log = logging.getLogger(__name__)
LOST = Directive.stop(Outcome.CANCELLED, "the lease was lost")
BEATS = 3  # per lease time, so that two may be lost


class HeldLease:
    """One lease from its claim to its result.

    Args:
        lease: What is held.
        client: Speaks to the controller.
        interrupt: Ends the training; called once, by the heartbeats, when the controller says so.
    """

    def __init__(self, lease: Lease, client: LeaseClient, interrupt: Callable[[], None]) -> None:
        self.lease = lease
        self.latest: Progress | None = None
        self._client = client
        self._interrupt = interrupt
        self._stop: Directive | None = None
        self._extended_at = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._heartbeats, name="heartbeat", daemon=True).start()

    @property
    def lost(self) -> bool:
        """Whether the controller has given the trial to somebody else."""
        return self._stop is LOST

    def report(self, progress: Progress) -> Directive:
        """Returns the controller's answer; one that is silent costs the lease at most."""
        if progress.point is not None:
            self.latest = progress
        if self._stop is not None:
            return self._stop
        try:
            directive = self._client.progress(self.lease, progress)
        except LeaseLost as error:
            log.warning("%s", error.message)
            directive = LOST
        except Exception as error:  # noqa: BLE001 (no answer, or none to be understood)
            log.warning("progress of lease %s: %s", self.lease.lease_id, error)
            return GO_ON
        self._extended_at = time.monotonic()
        if directive.action == "stop":
            self._stop = directive
        return directive

    def conclude(self, result: Result) -> Result | None:
        """Returns what is to be delivered, and ends the heartbeats; None once the lease is lost.

        A trial that was interrupted on the controller's word comes back as preempted, but what
        ended it is the controller's reason.
        """
        self._over.set()
        if self.lost:
            return None
        if self._stop is not None and result.outcome is Outcome.PREEMPTED:
            ended = {"outcome": self._stop.stopped_as, "message": self._stop.reason[:2000]}
            return result.model_copy(update=ended)
        return result

    def _heartbeats(self) -> None:
        """Reports where nothing else has been reported for as long, until the lease is over."""
        beat = self.lease.lease_seconds / BEATS
        pause = beat
        while not self._over.wait(pause):
            pause = self._extended_at + beat - time.monotonic()
            if pause > 0 and self._stop is None:
                continue
            pause = beat
            directive = self.report(Progress(phase="alive"))
            if directive.action == "stop":
                if not self._over.is_set():
                    self._interrupt()
                return
