"""Training processes: started with their environment and cores, watched, recycled, killed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.trials.lease_messages import (
    Directive,
    Lease,
    Progress,
    Result,
)
from brainformer.search.trials.trial import Outcome
from brainformer.worker.devices.joining import Membership
from brainformer.worker.process.cores import claim_cores
from brainformer.worker.process.environment import trial_environment
from brainformer.worker.process.trial_runner import TrialRunner
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.training.failures import SOUND_OUTCOMES, failed_result

log = logging.getLogger(__name__)
# Beside `watchdog_seconds`: neighbours that take most of the speed lengthen a calibrated trial.
WATCHDOG_BUDGETS = 6.0
ASKED_TO_END = frozenset({0, -signal.SIGTERM})
READY_SECONDS = 120.0  # after which a lease is given to it all the same, and watched
STACK_SECONDS = 0.5  # for a process that hangs to say where


class TrainingProcess(TrialRunner):
    """One process that runs one lease at a time; a fresh one after an error or by policy.

    Args:
        settings: Platform, cores, folders, policy.
        on_progress: Answers the trial's progress reports; called from a thread of its own.
        member: Its place among the hosts of its trials; None for trials on this host alone.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        on_progress: Callable[[Progress], Directive],
        *,
        member: Membership | None = None,
    ) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self._member = member
        self._death = ""
        self._process: subprocess.Popen[str] | None = None
        self._words: IO[bytes] | None = None
        self._results: queue.Queue[Result] = queue.Queue()
        self._ready = threading.Event()
        self._started_at = 0.0
        self._lease: Lease | None = None
        self._stopped = False
        self._served = 0
        self._begun = 0.0
        self._deadline = 0.0
        self._writing = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return self._process.pid if self._process else None

    @property
    def death(self) -> str:
        """How the process ended by itself, in words; "" while it has not."""
        if not self._death and self._process is not None:
            status = self._process.poll()
            self._death = "" if status is None else _ending(status)
        return self._death

    @property
    def waits(self) -> bool:
        """Whether the process is there and has said that it is ready."""
        return self._ready.is_set() and not self.death

    def start(self) -> None:
        """Starts the process.

        Raises:
            OSError: the system refuses.
            EnvironmentProblem: there are no cores for it.
        """
        self._death = ""
        self._process = self._started()

    def ready(self, timeout: float) -> bool:
        """Returns whether the process waits for a lease, or does within `timeout` seconds.

        One is started where there is none. One that cannot be started or dies is ready too: the
        next lease tells why.
        """
        if self._process is None:
            try:
                self.start()
            except (OSError, EnvironmentProblem):
                return True
        over = time.monotonic() - self._started_at > READY_SECONDS
        return over or self._ready.wait(timeout)

    def begin(self, lease: Lease) -> None:
        """Hands the lease to the process, starting one where there is none."""
        self._lease, self._stopped = lease, False
        results: queue.Queue[Result] = queue.Queue()
        self._results = results
        budgets = WATCHDOG_BUDGETS * lease.proxy.budget_seconds
        self._begun = time.monotonic()
        self._deadline = self._begun + self._settings.watchdog_seconds + budgets
        if self._process is None or self._process.poll() is not None:
            self.kill()
            try:
                self.start()
            except (OSError, EnvironmentProblem) as error:
                results.put(failed_result(error))
                return
        threading.Thread(
            target=self._serve, args=(self._process, lease, results), name="serve", daemon=True
        ).start()

    def result(self, timeout: float) -> Result | None:
        """Returns the result if it comes within `timeout` seconds.

        A process that outlives its deadline is killed: its trial timed out. One that dies is an
        error with its exit status and its last words.
        """
        try:
            result = self._results.get(timeout=timeout)
        except queue.Empty:
            if time.monotonic() < self._deadline:
                return None
            return self._timed_out()
        self._served += 1
        if result.outcome not in SOUND_OUTCOMES or self._served >= self._settings.recycle_after:
            self.kill()
        return result

    def interrupt(self) -> None:
        """Asks the running trial to save itself and end."""
        self._stopped = True
        process, lease = self._process, self._lease
        if process is not None and lease is not None:
            with contextlib.suppress(OSError, ValueError):
                self._send(process, "stop", lease.lease_id)

    def kill(self) -> None:
        """Ends the process at once; the next lease gets a fresh one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._words is not None:
            self._words.close()
            self._words = None
        self._served = 0

    def _timed_out(self) -> Result:
        """Kills the process, after it has told where it hangs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGABRT)  # faulthandler writes every thread's stack
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STACK_SECONDS)
        stack = self.last_words()
        self.kill()
        return Result(
            outcome=Outcome.TIMED_OUT,
            message="the trial outlived its time limit and was killed",
            traceback=stack,
        )

    def _started(self) -> subprocess.Popen[str]:
        settings = self._settings
        ours = trial_environment(settings.platform, settings.cores, settings.hosts)
        environment = {**os.environ, **ours}
        if settings.platform == "gpu":
            environment.pop("JAX_PLATFORMS")  # cuda or rocm: the platform is asserted later
        cores = ",".join(str(core) for core in claim_cores(settings))
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        command = [
            sys.executable,
            "-P",
            "-m",
            "brainformer.worker.process.trial_process",
            "--cores",
            cores,
        ]
        command += ["--runner", settings.runner, "--cache-folder", str(settings.cache_folder)]
        if self._member is not None:
            member = self._member
            command += ["--coordinator", member.coordinator]
            command += ["--hosts", str(member.hosts), "--host", str(member.host)]
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        self._started_at, self._ready = time.monotonic(), threading.Event()
        threading.Thread(
            target=_hear_ready, args=(process, self._ready), name="ready", daemon=True
        ).start()
        return process

    def _serve(
        self, process: subprocess.Popen[str], lease: Lease, results: queue.Queue[Result]
    ) -> None:
        """Speaks with the process until it gives a result or dies."""
        ready = self._ready
        try:
            self._send(process, "lease", self._errand(lease))
            ready.wait()
            for line in process.stdout or ():
                message = json.loads(line)
                if message["kind"] == "result":
                    results.put(Result.model_validate(message["body"]))
                    return
                directive = self._on_progress(Progress.model_validate(message["body"]))
                self._send(process, "directive", directive.model_dump())
        except Exception as error:  # noqa: BLE001 (the slot waits for a result, whatever it is)
            log.warning("the training process cannot be spoken with: %s", error)
        results.put(self._result_of_death(process))

    def _errand(self, lease: Lease) -> dict[str, Any]:
        settings = self._settings
        data_folder = settings.data_folder
        return {
            "runner": settings.runner,
            "platform": settings.platform,
            "lease": lease.model_dump(mode="json"),
            "begun": self._begun,
            "data_folder": None if data_folder is None else str(data_folder),
            "cache_folder": str(settings.cache_folder),
            "checkpoint_folder": str(settings.checkpoint_folder(lease)),
            "save_every_seconds": settings.save_every_seconds,
        }

    def _send(self, process: subprocess.Popen[str], kind: str, body: object) -> None:
        with self._writing:
            if process.stdin is not None:
                process.stdin.write(json.dumps({"kind": kind, "body": body}) + "\n")
                process.stdin.flush()

    def _result_of_death(self, process: subprocess.Popen[str]) -> Result:
        """Returns what the end of the process means for the trial that it ran."""
        try:
            status = process.wait(STACK_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        self._death = _ending(status)
        message = f"the training process ended with {self._death}"
        if self._stopped or status in ASKED_TO_END:
            return Result(outcome=Outcome.PREEMPTED, message=message)
        return Result(outcome=Outcome.ERROR, message=message, traceback=self.last_words())

    def last_words(self) -> str:
        """Returns the end of what the process wrote to its standard error."""
        words = self._words
        if words is None:
            return ""
        try:
            size = os.fstat(words.fileno()).st_size
            text = os.pread(words.fileno(), 20_000, max(0, size - 20_000))
        except (OSError, ValueError):
            return ""  # closed meanwhile
        return text.decode("utf-8", errors="replace")


def _hear_ready(process: subprocess.Popen[str], ready: threading.Event) -> None:
    """Takes the process's first line, or its end."""
    try:
        if process.stdout is not None:
            process.stdout.readline()
    finally:
        ready.set()


def _ending(status: int) -> str:
    """Returns a process's exit status in words."""
    if status >= 0:
        return f"status {status}"
    names = {int(one): one.name for one in signal.Signals}
    return f"signal {names.get(-status, -status)}"
