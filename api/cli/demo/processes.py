"""Child processes that never outlive the command that started them.

Every child and all that it starts (Ray's daemons too) inherits one environment variable; at the
end whatever still carries it is stopped. A child is also told to end when this process is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

MARK = "BRAINFORMER_FAMILY"
PR_SET_PDEATHSIG = 1


class Family:
    """The processes that one command has started, and their descendants."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._mark = uuid.uuid4().hex
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts `brainformer ARGUMENTS` in its own session, its output in a log file."""
        command = [sys.executable, "-P", "-m", "brainformer.api.cli.main", *arguments]
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, MARK: self._mark},
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )
        self._children[name] = child
        return child

    def dead(self) -> str | None:
        """Returns the name of a child that has ended by itself, if any."""
        return next((n for n, child in self._children.items() if child.poll() is not None), None)

    def last_words(self, name: str) -> str:
        """Returns the last line that a child wrote."""
        text = (self.logs / f"{name}.log").read_text("utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else "no output"

    def stop(self, *, grace_seconds: float = 12) -> None:
        """Ends every process of the family: politely first, in the reverse order of their start."""
        for child in reversed(self._children.values()):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                _wait(child, grace_seconds)
        for process in self.members():
            _signal(process, signal.SIGTERM)
        _, alive = psutil.wait_procs(self.members(), timeout=2)
        for process in alive:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=2)

    def members(self) -> list[psutil.Process]:
        """Returns every living process that carries the family's mark."""
        members = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark and process.pid != os.getpid():
                    members.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return members


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Waits for a child; a second Ctrl-C meanwhile only shortens the wait."""
    deadline = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < deadline:
        try:
            time.sleep(0.05)
        except KeyboardInterrupt:
            deadline = min(deadline, time.monotonic() + 1)
    if child.poll() is None:
        child.kill()
        child.wait()


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _end_with_parent() -> Callable[[], None] | None:
    """Returns what a Linux child runs first, so that it gets SIGTERM if this process dies."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
