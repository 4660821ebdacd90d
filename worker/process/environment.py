"""The environment that a training process must start with; nothing here imports jax."""

from __future__ import annotations

import os

# XLA frees its temporaries after every step, and by default the kernel zeroes them again: a third
# of a small step is page faults. These keep glibc's memory in the process.
MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
# The same for a process that has already started: glibc's mallopt numbers and values. A limit is an
# int there, so the threshold is the largest.
MALLOPT = {-1: 2**31 - 1, -2: 2**28, -4: 0, -8: 1}
COLLECT_AFTER = 100_000  # objects: tracing makes many, and next to none of them are garbage
# Measured (docs/experiments/trial.md): 5 to 10% less compilation and the same step. XLA takes
# these for a process only, not for a program.
XLA_FLAGS = (
    "--xla_backend_extra_options="
    "xla_cpu_disable_loop_unrolling=true,xla_cpu_disable_slp_vectorizer=true"
)
# A trial has its GPU to itself, and jax would leave a quarter of it unused. The rest is for what
# lies outside jax's pool: the driver's context, programs, cuDNN.
GPU_MEMORY_SHARE = "0.9"
MEMORY_SHARE_NAMES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
# jax's pool of threads has one a core, and collectives between hosts wait in it: with fewer threads
# than devices that wait, nobody is left to answer (found with jax 0.10 and two devices a process).
HOST_THREADS = "8"
JAX_PLATFORM = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


def trial_environment(platform: str, cores: int, hosts: int = 1) -> dict[str, str]:
    """Returns the variables for a process that trains on `platform` with `cores` cores.

    Args:
        platform: `cpu`, `gpu` or `tpu`.
        cores: Of this process.
        hosts: That share the trial.
    """
    threads = str(cores)
    environment = {
        "JAX_PLATFORMS": JAX_PLATFORM[platform],
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    if platform == "cpu":
        environment |= {**MALLOC, "XLA_FLAGS": with_flags(os.environ.get("XLA_FLAGS", ""))}
    if platform == "cpu" and hosts > 1:
        environment["PJRT_NPROC"] = os.environ.get("PJRT_NPROC", HOST_THREADS)
    if platform == "gpu" and not any(name in os.environ for name in MEMORY_SHARE_NAMES):
        environment[MEMORY_SHARE_NAMES[0]] = GPU_MEMORY_SHARE
    return environment


def with_flags(present: str) -> str:
    """Returns the flags that are there and ours behind them; an operator's own choice stays."""
    if "--xla_backend_extra_options" in present:
        return present
    return f"{present} {XLA_FLAGS}".strip()
