"""What a process that trains is told before jax is imported; nothing here imports it earlier."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.process.environment import with_flags
from brainformer.worker.settings import default_state_folder

COLLECT_AFTER = 100_000  # objects: tracing makes many, and next to none of them are garbage
# glibc's mallopt numbers and values: as worker/process/environment.py has them for a process that
# is yet to start. A limit is an int there, so the threshold is the largest.
MALLOPT = {-1: 2**31 - 1, -2: 2**28, -4: 0, -8: 1}


def prepare_process() -> None:
    """Sets memory, compiler and dispatch as trials have them (docs/performance/worker.md)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["XLA_FLAGS"] = with_flags(os.environ.get("XLA_FLAGS", ""))
    gc.set_threshold(COLLECT_AFTER)
    with contextlib.suppress(AttributeError, OSError):  # glibc alone has it
        library = ctypes.CDLL(None)
        for option, value in MALLOPT.items():
            library.mallopt(option, value)
    from brainformer.worker.devices.compiler_options import dispatch_in_order

    dispatch_in_order()


def compiled_folder() -> Path | None:
    """Returns where compiled programs are kept between processes; None for a user without home."""
    try:
        return default_state_folder() / "compiled"
    except EnvironmentProblem:
        return None
