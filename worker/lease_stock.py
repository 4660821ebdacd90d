"""A small stock of leases, claimed ahead by a thread: Tune's loop never waits on the network."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from search.errors import BrainformerError, ControllerUnreachable, LeaseLost
from search.lease import ClaimRequest, Lease, Progress
from worker.client import LeaseClient
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)
CLAIM_WAIT_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 15.0


class LeaseStock:
    """Claims leases ahead of the slots, and keeps those in stock alive.

    Args:
        settings: Pool, slots and the worker's id.
        client: Speaks to the controller.
        datasets: Returns the hashes of the data sets at hand.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        client: LeaseClient,
        datasets: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self._settings = settings
        self._client = client
        self._datasets = datasets
        self._size = max(1, settings.slots // 8)
        self._stock: queue.Queue[tuple[Lease, float]] = queue.Queue()
        self._room = threading.Semaphore(self._size)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-stock", daemon=True)
        self._thread.start()

    def take(self) -> Lease | None:
        """Returns a lease that is still alive, if there is one at hand; never waits."""
        while True:
            try:
                lease, renewed = self._stock.get_nowait()
            except queue.Empty:
                return None
            self._room.release()
            if time.monotonic() - renewed < 0.8 * lease.lease_seconds:
                return lease

    def close(self) -> None:
        """Stops claiming and hands back what is in stock."""
        self._closed.set()
        self._thread.join(timeout=CLAIM_WAIT_SECONDS + 5)
        while (lease := self.take()) is not None:
            try:
                self._client.release(lease)
            except BrainformerError as error:
                log.warning("lease %s was not handed back: %s", lease.lease_id, error.message)

    def _run(self) -> None:
        pause = 0.5
        while not self._closed.is_set():
            if not self._room.acquire(timeout=1.0):
                self._renew()
                continue
            try:
                leases = self._claim()
                pause = 0.5
            except BrainformerError as error:
                leases = ()
                log.warning("%s", error.message)
                self._closed.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            for lease in leases:
                self._stock.put((lease, time.monotonic()))
            if not leases:
                self._room.release()

    def _claim(self) -> tuple[Lease, ...]:
        request = ClaimRequest(
            worker_id=self._settings.worker_id,
            pool=self._settings.pool,
            count=1,
            wait_seconds=0.0 if self._closed.is_set() else CLAIM_WAIT_SECONDS,
            datasets=self._datasets() or None,
        )
        return self._client.claim(request)

    def _renew(self) -> None:
        """Extends the leases in stock that are a third through."""
        for _ in range(self._stock.qsize()):
            try:
                lease, renewed = self._stock.get_nowait()
            except queue.Empty:
                return
            if time.monotonic() - renewed > lease.lease_seconds / 3:
                try:
                    directive = self._client.progress(lease, Progress(phase="waiting"))
                except ControllerUnreachable:
                    directive = None
                except LeaseLost:
                    self._room.release()
                    continue
                if directive is not None and directive.action == "stop":
                    self._room.release()
                    continue
                renewed = time.monotonic() if directive is not None else renewed
            self._stock.put((lease, renewed))
