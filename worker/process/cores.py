"""Cores: a trial on CPU owns as many as it has, and no other trial of this machine runs there."""

from __future__ import annotations

import fcntl
import os
import time
from typing import IO

from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.settings import WorkerSettings

WAIT_SECONDS = 15.0
# By runner; the locks are open for as long as this process lives.
_held: dict[str, tuple[tuple[int, ...], IO[bytes]]] = {}


def claim_cores(settings: WorkerSettings, *, wait_seconds: float = WAIT_SECONDS) -> tuple[int, ...]:
    """Returns the cores that this process's runner owns; the same ones when asked again.

    Locks in the state folder keep them; they end with this process, however it ends. Empty,
    meaning any, on an accelerator, for a runner that computes nothing and where the system knows
    no affinity.

    Raises:
        EnvironmentProblem: other trials hold every core. To share one would falsify both.
    """
    if settings.platform != "cpu" or settings.runner == "sleep":
        return ()
    if not hasattr(os, "sched_setaffinity"):
        return ()
    if settings.runner in _held:
        return _held[settings.runner][0]
    free = sorted(os.sched_getaffinity(0))
    groups = [
        tuple(free[first : first + settings.cores])
        for first in range(0, len(free) - settings.cores + 1, settings.cores)
    ]
    folder = settings.state_folder / "cores"
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + wait_seconds  # an earlier slot's process may just be ending
    while True:
        for cores in groups:
            file = (folder / f"{cores[0]}.lock").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _held[settings.runner] = (cores, file)
            return cores
        if time.monotonic() >= end:
            raise EnvironmentProblem(
                f"no {settings.cores} of the cores {free} are free for a trial",
                "start fewer slots, or stop the other worker of this machine",
            )
        time.sleep(0.1)
