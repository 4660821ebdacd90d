"""What a process that trains is told before jax is imported; nothing here imports it earlier."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

from brainformer.search.errors import EnvironmentProblem, InvalidInput
from brainformer.worker.devices.joining import join
from brainformer.worker.process.environment import COLLECT_AFTER, MALLOPT, with_flags
from brainformer.worker.settings import default_state_folder


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


def join_hosts(coordinator: str | None, hosts: int | None, host: int | None) -> bool:
    """Joins the processes of a run on several hosts; call it after `prepare_process`.

    Args:
        coordinator: HOST:PORT of the first host, or `auto` where the cluster tells (TPU slices,
            Slurm); None for a run on one host.
        hosts: How many there are.
        host: The number of this one, from 0.

    Returns:
        Whether this host is the first one, which speaks for all.

    Raises:
        InvalidInput: what is said does not fit together.
        EnvironmentProblem: the others cannot be reached.
    """
    if coordinator is None:
        if (hosts, host) != (None, None):
            raise InvalidInput("--hosts and --host need --coordinator HOST:PORT")
        return True
    if coordinator != "auto" and (hosts is None or host is None or not 0 <= host < hosts):
        rule = "--coordinator needs --hosts and --host, from 0 to one less than the hosts"
        raise InvalidInput(rule, (hosts, host))
    told = None if coordinator == "auto" else coordinator
    remedy = "start the same command on each of them, with its own --host"
    return join(told, hosts, host, remedy=remedy) == 0


def compiled_folder() -> Path | None:
    """Returns where compiled programs are kept between processes; None for a user without home."""
    try:
        return default_state_folder() / "compiled"
    except EnvironmentProblem:
        return None
