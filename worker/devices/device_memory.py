"""Memory: what the device offers, and what this process has used at most."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import jax

USABLE_SHARE = 0.9


def memory_limit_bytes(device: jax.Device) -> int:
    """Returns how many bytes a program may need on the device.

    An accelerator tells its own limit; on a CPU it is the machine's memory or the control
    group's limit, whichever is smaller, less a tenth for everything else, shared by the devices
    that a process makes of it. Another host's device is taken to be like one of this host.
    """
    if device.process_index != jax.process_index():
        device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if device.platform != "cpu" and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(path).read_text("ascii")))
        except (OSError, ValueError):
            continue
    return int(total * USABLE_SHARE) // jax.local_device_count(device.platform)


def peak_memory_bytes(device: jax.Device) -> int:
    """Returns the most that this process has used: on the device, or resident on a CPU."""
    stats = device.memory_stats() or {}
    if device.platform != "cpu" and "peak_bytes_in_use" in stats:
        return int(stats["peak_bytes_in_use"])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
