"""Training processes: started with their cores and environment, watched, recycled, killed."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from search.lease import Directive, Lease, Progress, Result
from search.trial import Outcome
from worker.process_environment import trial_environment
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)
JAX_NAME = {"cpu": "cpu", "gpu": "gpu", "tpu": "tpu"}
# Beside the budget: start, data, compilation, evaluation, and a neighbour that halves the speed.
WATCHDOG_SECONDS = 300.0
WATCHDOG_BUDGETS = 4.0
PREEMPTION_SECONDS = 9.0


class TrainingProcess:
    """One process that runs one lease at a time; a fresh one after an error or by policy.

    Args:
        settings: Platform, cores, folders, policy.
        on_progress: Answers the trial's progress reports; called from a thread of its own.
    """

    def __init__(
        self, settings: WorkerSettings, on_progress: Callable[[Progress], Directive]
    ) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self._process: subprocess.Popen[str] | None = None
        self._results: queue.Queue[Result] = queue.Queue()
        self._served = 0
        self._deadline = 0.0
        self._cores = _claim_cores(settings)

    def begin(self, lease: Lease) -> None:
        """Hands the lease to the process, starting one where there is none."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        self._results = queue.Queue()
        settings = self._settings
        body = {
            "runner": settings.runner,
            "platform": JAX_NAME[settings.platform],
            "lease": lease.model_dump(mode="json"),
            "data_folder": None if settings.data_folder is None else str(settings.data_folder),
            "cache_folder": str(settings.cache_folder),
            "checkpoint_folder": str(
                settings.checkpoints_folder / f"{lease.search_id}-{lease.trial_number}"
            ),
        }
        allowed = WATCHDOG_SECONDS + WATCHDOG_BUDGETS * lease.proxy.budget_seconds
        self._deadline = time.monotonic() + allowed
        process = self._process
        assert process is not None  # noqa: S101 (just started)
        threading.Thread(
            target=self._serve, args=(process, body, self._results), daemon=True
        ).start()

    def result(self, timeout: float) -> Result | None:
        """Returns the result if it comes within `timeout` seconds.

        A process that outlives its deadline is killed: its trial timed out. One that dies is an
        error with its exit status.
        """
        try:
            result = self._results.get(timeout=timeout)
        except queue.Empty:
            if time.monotonic() < self._deadline:
                return None
            self.kill()
            return Result(outcome=Outcome.TIMED_OUT, message="the trial outlived its time limit")
        self._served += 1
        if result.outcome == Outcome.ERROR or self._served >= self._settings.recycle_after:
            self.kill()
        return result

    def interrupt(self) -> None:
        """Asks the running trial to save itself and end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def preempt(self) -> Result:
        """Returns the preempted trial's result, killing the process if it takes too long."""
        self.interrupt()
        result = self.result(PREEMPTION_SECONDS)
        if result is None:
            self.kill()
            result = Result(outcome=Outcome.PREEMPTED, message="killed while it saved itself")
        return result

    def kill(self) -> None:
        """Ends the process at once; the next lease gets a fresh one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._served = 0

    def _start(self) -> None:
        settings, cores = self._settings, self._cores
        environment = {**os.environ, **trial_environment(settings.platform, settings.cores)}
        if settings.platform == "gpu" and "JAX_PLATFORMS" in environment:
            environment.pop("JAX_PLATFORMS")  # cuda or rocm: the platform is asserted later

        def pin() -> None:
            if cores:
                os.sched_setaffinity(0, cores)

        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.trial_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=pin,
        )

    def _serve(
        self, process: subprocess.Popen[str], body: dict[str, Any], results: queue.Queue[Result]
    ) -> None:
        """Speaks with the process until it gives a result or dies."""
        writer, reader = process.stdin, process.stdout
        assert writer is not None  # noqa: S101 (both are pipes)
        assert reader is not None  # noqa: S101
        try:
            _write(writer, {"body": body})
            for line in reader:
                message = json.loads(line)
                if message["kind"] == "result":
                    results.put(Result.model_validate(message["body"]))
                    return
                directive = self._on_progress(Progress.model_validate(message["body"]))
                _write(writer, {"body": directive.model_dump()})
        except (OSError, ValueError) as error:
            log.warning("the training process cannot be spoken with: %s", error)
        status = process.wait()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        results.put(Result(outcome=Outcome.ERROR, message=f"the training process ended with {how}"))


def _write(writer: IO[str], message: dict[str, Any]) -> None:
    writer.write(json.dumps(message) + "\n")
    writer.flush()


def _claim_cores(settings: WorkerSettings) -> set[int]:
    """Returns cores that no other trial of this machine's user holds, as many as one trial has.

    The lock files live as long as this process. Empty, meaning any, where all are taken or the
    trial runs on an accelerator.
    """
    if settings.platform != "cpu" or not hasattr(os, "sched_getaffinity"):
        return set()
    free = sorted(os.sched_getaffinity(0))
    folder = settings.state_folder / "cores"
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(free) - settings.cores + 1, settings.cores):
        chosen = free[first : first + settings.cores]
        if _hold(folder / f"{chosen[0]}.lock"):
            return set(chosen)
    return set()


_held: list[IO[bytes]] = []  # open for as long as this process lives


def _hold(path: Path) -> bool:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _held.append(file)
    return True
