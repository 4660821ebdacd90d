"""Claims: a slot's way to its next lease, by a thread that waits at the controller for it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from brainformer.search.errors import (
    BrainformerError,
    LeaseLost,
    NotAuthorised,
    PoolRetired,
    VersionSkew,
)
from brainformer.search.trials.lease_messages import ClaimRequest, Lease, Progress
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.slot.controller_client import LeaseClient
from brainformer.worker.slot.news import News

log = logging.getLogger(__name__)
WAIT_SECONDS = 10.0  # a long poll, so that an idle slot costs nothing
IDLE_SECONDS = 0.25  # between looks at the age of a lease that waits
LAST_CLAIM_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
JITTER = 0.5  # of a pause
EARLY_SHARE = 0.5  # of the time that a claim waits: an empty answer before that did not wait
RENEW_SHARE = 1 / 3  # of a lease's time
USABLE_SHARE = 0.8


class Claims:
    """Claims one lease when one is wanted, and keeps it alive until it is taken.

    Args:
        settings: Pool and the worker's id.
        client: Speaks to the controller.
        datasets: Returns the hashes of the data sets at hand.
        news: Told when the controller is away, and when it refuses this worker for good.
        first_pause: Seconds after the first failed claim; doubled with every further one.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        client: LeaseClient,
        datasets: Callable[[], dict[str, str]],
        news: News,
        *,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._settings = settings
        self._client = client
        self._datasets = datasets
        self._news = news
        self._first_pause = first_pause
        self._lease: Lease | None = None
        self._renewed = 0.0
        self._wanted = False
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
        self._thread.start()

    def want(self) -> Lease | None:
        """Returns the lease that is at hand, which stays there; without one, claims one."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            return self._lease

    def take(self, timeout: float) -> Lease | None:
        """Returns a lease that is still alive, if there is one within `timeout` seconds."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                self._wanted = True
                self._changed.notify_all()
                lease, self._lease = self._lease, None
                if lease is not None and self._age() < USABLE_SHARE * lease.lease_seconds:
                    self._wanted = False
                    return lease
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def put_off(self) -> None:
        """Claims nothing more until a lease is wanted again, and hands back one at hand."""
        with self._changed:
            self._wanted = False
        self._hand_back()

    def close(self) -> None:
        """Stops claiming and hands back what was not taken.

        A claim that still waits is not waited for: its connection ends with this process, and
        the controller grants nothing to a connection that has gone.
        """
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=LAST_CLAIM_SECONDS)
        self._hand_back()

    def _hand_back(self) -> None:
        with self._changed:
            lease, self._lease = self._lease, None
        if lease is not None:
            try:
                self._client.release(lease)
            except BrainformerError as error:
                log.warning("lease %s was not handed back: %s", lease.lease_id, error.message)

    def _run(self) -> None:
        pause = idle = self._first_pause
        while not self._closed.is_set():
            if not self._claims_now():
                self._renew()
                continue
            began = time.monotonic()
            try:
                leases = self._client.claim(self._request())
            except (NotAuthorised, PoolRetired, VersionSkew) as error:
                self._news.refuse(error)
                break
            except Exception as error:  # noqa: BLE001 (a slot never gives up asking)
                log.warning("no lease was claimed: %s", error)
                self._news.tell(f"no lease was claimed: {error}; trying again")
                pause = self._rest(pause)
                continue
            if pause > self._first_pause:
                self._news.tell("the controller answers again")
            elif not leases:
                self._news.tell(f"waiting for work in pool {self._settings.pool}")
            pause = self._first_pause
            with self._changed:
                self._lease, self._renewed = (*leases, None)[0], time.monotonic()
                self._changed.notify_all()
            if not leases and time.monotonic() - began < EARLY_SHARE * WAIT_SECONDS:
                # More claims wait there already than it lets wait: to ask again at once, and all
                # the others too, would leave it no time for anything else.
                idle = self._rest(idle)
            else:
                idle = self._first_pause
        self._hand_back()

    def _rest(self, pause: float) -> float:
        """Pauses, for not quite as long as others do that began together; returns what is next."""
        self._closed.wait(random.uniform(1 - JITTER, 1) * pause)  # noqa: S311 (no secret)
        return min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _claims_now(self) -> bool:
        """Returns whether a lease is wanted; no when the one at hand is to be looked after."""
        with self._changed:
            if self._lease is not None:
                self._changed.wait(IDLE_SECONDS)
            elif not self._wanted and not self._closed.is_set():
                self._changed.wait()
            return self._wanted and self._lease is None

    def _request(self) -> ClaimRequest:
        return ClaimRequest(
            worker_id=self._settings.worker_id,
            pool=self._settings.pool,
            wait_seconds=WAIT_SECONDS,
            datasets=self._datasets(),
        )

    def _age(self) -> float:
        return time.monotonic() - self._renewed

    def _renew(self) -> None:
        """Extends a lease that waits, and drops one that is no longer held."""
        lease, now = self._lease, time.monotonic()
        if lease is None or self._age() < RENEW_SHARE * lease.lease_seconds:
            return
        try:
            lost = self._client.progress(lease, Progress(phase="waiting")).action == "stop"
        except LeaseLost:
            lost = True
        except BrainformerError as error:
            log.warning("%s", error.message)
            return
        with self._changed:
            if self._lease is lease:
                self._lease = None if lost else lease
                self._renewed = now
