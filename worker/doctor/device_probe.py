"""What jax finds on this machine and how fast the reference kernel runs: one line of JSON.

Run as a process of its own with a trial's environment, so that a crash or a hang of a driver costs
an answer and not the asker, and pinned to one core on a CPU, as a trial is.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

SAMPLES = 60


def main() -> None:
    """Writes the finding to stdout."""
    if hasattr(os, "sched_setaffinity") and os.environ.get("JAX_PLATFORMS") == "cpu":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import jax

    from brainformer.worker.devices.device_memory import memory_limit_bytes
    from brainformer.worker.timing.calibration import lower_quartile, reference_kernel

    devices = jax.devices()
    kernel = reference_kernel()
    for _ in range(3):
        kernel()
    real, processor = [], []
    for _ in range(SAMPLES):
        start, metered = time.perf_counter(), time.process_time()
        kernel()
        real.append(time.perf_counter() - start)
        processor.append(time.process_time() - metered)
    found = {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "devices": len(devices),
        "memory_bytes": memory_limit_bytes(devices[0]),
        "reference_ms": 1e3 * lower_quartile(processor),
        "reference_real_ms": 1e3 * statistics.median(real),
        # What preemption and throttling add to the quiet time, on average.
        "contention": statistics.mean(real) / min(real),
        "jax": jax.__version__,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
