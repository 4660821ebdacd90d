"""Trials for benchmarks: trained without Ray or a controller, one process pinned to each core."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.trials.lease_messages import GO_ON, Directive, Lease, Progress, Result
from brainformer.search.trials.trial import CurvePoint
from brainformer.worker.process.environment import trial_environment

CACHE = Path.home() / ".cache" / "brainformer" / "compiled"


class Run(NamedTuple):
    """One trial; `steps` fixes the number of steps, which the clock decides otherwise."""

    genome: Genome
    proxy: Proxy
    seed: int
    steps: int | None = None


def restart_as_trial(module: str) -> None:
    """Starts the process again with a trial's environment; returns if it has it already."""
    environment = trial_environment("cpu", 1)
    if any(os.environ.get(name) != value for name, value in environment.items()):
        # The allocator reads its settings when a process starts.
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | environment)


class Trained(NamedTuple):
    """How a run ended, and its learning curve."""

    result: Result
    curve: list[CurvePoint]


def train_all(runs: Sequence[Run], *, cores: Sequence[int]) -> Iterator[Result]:
    """Yields each run's result, in order, trained by one process a core."""
    return (trained.result for trained in train_with_curves(runs, cores=cores))


def train_with_curves(runs: Sequence[Run], *, cores: Sequence[int]) -> Iterator[Trained]:
    """Yields each run's result and curve, in order, trained by one process a core."""
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    for core in cores:
        free.put(core)
    with context.Pool(len(cores), initializer=_own_core, initargs=(free,)) as pool:
        yield from pool.imap(_train, runs, chunksize=1)


def _own_core(free: multiprocessing.Queue[int]) -> None:
    """Takes a core; a step ends before the next is handed over, as in a worker's process."""
    from brainformer.worker.devices.compiler_options import dispatch_in_order

    os.sched_setaffinity(0, {free.get()})
    dispatch_in_order()


def lease_of(run: Run) -> Lease:
    """Returns a lease of the run, as a controller would have granted it."""
    return Lease.model_validate(
        {
            "lease_id": "1-1",
            "search_id": "benchmark",
            "search_name": "benchmark",
            "trial_id": 1,
            "trial_number": 1,
            "attempt": 1,
            "kind": "candidate",
            "pool": "cpu",
            "genome": run.genome,
            "proxy": run.proxy,
            "seed": run.seed,
            "expires_at": datetime.now(UTC),
            "lease_seconds": 60,
        }
    )


def _train(run: Run) -> Trained:
    from brainformer.worker.training.proxy_training import train_proxy

    curve: list[CurvePoint] = []

    def on_progress(progress: Progress) -> Directive:
        curve.extend([progress.point] if progress.point else [])
        return GO_ON

    result = train_proxy(
        lease_of(run),
        on_progress=on_progress,
        cache_folder=CACHE,
        recorded_steps=run.steps,
    )
    m = result.measurements
    print(
        f"{result.outcome:>10}  d={run.genome.model_dim:<3} layers={len(run.genome.layers)}"
        f" seed={run.seed} budget={run.proxy.budget_seconds:g}"
        f"  loss {m.validation_loss}  steps {m.steps}  step {m.step_time_ms} ms"
        f"  training {m.training_seconds} s  contention {m.contention}"
        f"  utilisation {m.utilisation}",
        flush=True,
    )
    return Trained(result, curve)
