"""A real `brainformer worker` of one slot on one core, and what becomes of the trials that it runs.

Every wait ends: with its answer, with the last words of a worker that has died, or, once its time
is over, with a sentence that says what never came.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psutil

from benchmarks.two_clusters_stage import CLI, Tree

LOOK_SECONDS = 0.2
DRAIN_SECONDS = 60.0  # as deploy/systemd/brainformer-worker.service has it
LINGER_SECONDS = 15.0  # for what the worker had started, once it has ended itself
LAST_WORDS = 1_500
T = TypeVar("T")


class Patience:
    """How long everything together may take; whoever loses it loses it for all.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._lost = threading.Event()

    def lose(self) -> None:
        """Ends every wait, of any thread."""
        self._lost.set()

    def sleep(self, seconds: float) -> None:
        """Sleeps; raises TimeoutError if patience is lost meanwhile."""
        if self._lost.wait(max(0.0, seconds)):
            raise TimeoutError("given up, since something else went wrong")

    def sleep_until(self, moment: float) -> None:
        """Sleeps until so many seconds since 1970."""
        self.sleep(moment - time.time())

    def wait_for(self, what: str, question: Callable[[], T], *, seconds: float) -> T:
        """Returns the first answer that is not empty.

        Raises:
            TimeoutError: none came within the seconds, or within the time of everything together.
        """
        end = time.monotonic() + seconds
        while not (answer := question()):
            now = time.monotonic()
            if now > self._end:
                raise TimeoutError(f"{what}: not within {self._seconds:.0f} s from the start")
            if now > end:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s")
            self.sleep(LOOK_SECONDS)
        return answer


class Worker:
    """A worker and its pool, which nobody else works for.

    Args:
        number: Chooses its core.
        url: Of the controller.
        folder: For its state and its log.
    """

    def __init__(self, number: int, url: str, folder: Path) -> None:
        self.pool = f"cpu-{number}"
        cores = sorted(os.sched_getaffinity(0))
        command = ["taskset", "-c", str(cores[number % len(cores)]), *CLI, "worker"]
        command += ["--pool", self.pool, "--slots", "1", "--url", url]
        self._state = folder / self.pool
        self._command = [*command, "--state-folder", str(self._state)]
        self._log = folder / f"{self.pool}.log"
        self._tree: Tree | None = None

    def start(self) -> None:
        """Starts it, whose last process has ended."""
        self._tree = Tree(self._command, self._log, {})

    def check(self) -> None:
        """Raises RuntimeError with its last words if it has ended by itself."""
        if self._tree is not None and self._tree.ended is not None:
            raise RuntimeError(self._told(f"ended by itself with status {self._tree.ended}"))

    def terminate(self) -> tuple[float, float]:
        """Ends it by SIGTERM; returns when, in seconds since 1970, and how many seconds it took.

        Raises:
            RuntimeError: it had to be killed, ended with an error, or left processes behind.
        """
        tree, self._tree = self._tree, None
        if tree is None:
            return time.time(), 0.0
        family = tree.family()
        sent, began = time.time(), time.monotonic()
        status = tree.stop(DRAIN_SECONDS)
        took = time.monotonic() - began
        if status:
            raise RuntimeError(
                self._told(f"ended with status {status}, {took:.0f} s after SIGTERM")
            )
        _, left = psutil.wait_procs(family, timeout=LINGER_SECONDS)
        if left:
            names = ", ".join(sorted(" ".join(one.cmdline()[:4]) for one in left))
            for one in left:
                one.kill()
            raise RuntimeError(self._told(f"left processes behind: {names}"))
        return sent, took

    def kill(self) -> None:
        """Kills it with all that it has started."""
        if self._tree is not None:
            self._tree.kill()
            self._tree = None

    def kept_steps(self) -> int:
        """Returns the steps in the checkpoint that is there; 0 without one."""
        found = list((self._state / "checkpoints").glob("*/progress.json"))
        return max((int(json.loads(one.read_text())["steps"]) for one in found), default=0)

    def _told(self, what: str) -> str:
        words = self._log.read_text("utf-8", errors="replace")[-LAST_WORDS:]
        return f"the worker of {self.pool} {what}; its last words:\n{words}"


class Trials:
    """What the controller knows of the trials of one search, all of one pool."""

    def __init__(self, url: str, search_id: str, pool: str) -> None:
        self._http = httpx2.Client(base_url=f"{url}/api/v1", timeout=60, trust_env=False)
        self._search = f"/searches/{search_id}"
        self._pool = pool

    def of_status(self, status: str) -> list[dict[str, Any]]:
        """Returns the trials of a status, in the order of their numbers."""
        query = {"pool": self._pool, "status": status, "limit": 500}
        return list(self._get(f"{self._search}/trials", query)["items"])

    def begun(self) -> dict[str, Any] | None:
        """Returns the trial that runs its first attempt; None while there is none."""
        running = self.of_status("running")
        return next((one for one in running if one["attempt"] == 1), None)

    def ended(self, number: int) -> dict[str, Any] | None:
        """Returns a trial with its attempts, once it has ended for good."""
        found = self._get(f"{self._search}/trials/{number}")
        return None if found["status"] in ("queued", "running") else found

    def attempts(self, number: int) -> list[dict[str, Any]]:
        """Returns a trial's attempts that have ended, oldest first."""
        found = self._get(f"{self._search}/trials/{number}")["attempts"]
        return [one for one in found if one["finished_at"]]

    def occupied(self, number: int) -> float:
        """Returns the seconds between claim and result, of all attempts of a trial together."""
        return sum(
            seconds(one["finished_at"]) - seconds(one["started_at"])
            for one in self.attempts(number)
        )

    def _get(self, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
        return dict(self._http.get(path, params=query or {}).raise_for_status().json())


def seconds(moment: str) -> float:
    """Returns an ISO moment in seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp()
