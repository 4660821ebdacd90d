"""Unrolled or scanned, recomputed or not: what each costs at several depths of one model.

The model of `benchmarks.cpu_step`, its block stacked one to twelve times: compilation, a step, and
the step's memory by the compiler's account. Every way has a process of its own, and the four of
one depth take turns of a few steps, so that whatever else the machine does meets all. A trial pays
for its compilation once and for its steps again and again, so the ways are compared by what a
budget of ten seconds of steps costs in all. On a CPU; accelerators are not run.

    python -m benchmarks.depth [--depths 1 3 6 12]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.cpu_step import (
    PROXY,
    THREADS,
    genome,
    tokens,
)
from benchmarks.report import report
from brainformer.worker.process.environment import trial_environment

BUDGET_SECONDS = 10.0
TOLERANCE = 0.05  # ways that cost about the same are as good as one another
WAYS = {
    "unrolled": {"scan": False, "remat": False},
    "unrolled, recomputed": {"scan": False, "remat": True},
    "scanned": {"scan": True, "remat": False},
    "scanned, recomputed": {"scan": True, "remat": True},
}


def main() -> None:
    options = _options()
    if options.child:
        blocks, way = options.child.split(":")
        serve(int(blocks), WAYS[way])
        return
    results: dict[str, dict[str, Any]] = {}
    for blocks in options.depths:
        ways = results[str(blocks)] = measure(blocks, options)
        for way, found in ways.items():
            # The same steps as the fastest way takes in its budget.
            steps = BUDGET_SECONDS / min(one["step_seconds"] for one in ways.values())
            found["trial_seconds"] = round(
                found["compile_seconds"] + steps * found["step_seconds"], 2
            )
            print(
                f"{blocks:>4} blocks  {way:>22}  compile {found['compile_seconds']:6.2f} s   step "
                f"{found['step_seconds'] * 1e3:7.1f} ms   memory {found['memory_mib']:7.1f} MiB   "
                f"in all {found['trial_seconds']:6.2f} s",
                flush=True,
            )
    best = {
        blocks: min(ways, key=lambda way: ways[way]["trial_seconds"])
        for blocks, ways in results.items()
    }
    dear = {
        blocks: ways[_chosen(int(blocks))]["trial_seconds"] / ways[best[blocks]]["trial_seconds"]
        for blocks, ways in results.items()
    }
    report(
        name="depth",
        value=round(max(dear.values()), 3),
        unit="cost of the way that model/config.py chooses over the cheapest, at the worst depth",
        target=f"at most {1 + TOLERANCE}",
        ok=max(dear.values()) <= 1 + TOLERANCE,
        details={
            "platform": "cpu",
            "accelerators": "not run",
            "threads": THREADS,
            "cheapest": best,
            **results,
        },
        keep=not options.no_keep,
    )


def _chosen(blocks: int) -> str:
    """Returns the way that a trial of so many blocks takes."""
    from brainformer.model.config import ModelConfig

    proxy = PROXY.model_copy(update={"blocks": blocks})
    config = ModelConfig.of_proxy(genome(), proxy, platform="cpu")
    chosen = {"scan": config.scan, "remat": config.remat}
    return next(way for way, choice in WAYS.items() if choice == chosen)


def measure(blocks: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Returns per way seconds of compilation and of a step, and MiB."""
    children = {way: Child(blocks, way) for way in WAYS}  # each compiles before the next starts
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way, child in children.items():
            seconds[way] += child.steps(1 + options.steps)[1:]
    for child in children.values():
        child.close()
    return {
        way: {**child.compiled, "step_seconds": round(statistics.median(seconds[way]), 5)}
        for way, child in children.items()
    }


class Child:
    """A process that holds one compiled model and takes steps when it is told to."""

    def __init__(self, blocks: int, way: str) -> None:
        command = [sys.executable, "-m", "benchmarks.depth", "--child", f"{blocks}:{way}"]
        environment = os.environ | trial_environment("cpu", THREADS)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, text=True
        )
        self.compiled: dict[str, float] = self._answer()

    def steps(self, count: int) -> list[float]:
        """Returns seconds of so many steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        seconds: list[float] = self._answer()
        return seconds

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(blocks: int, way: dict[str, bool]) -> None:
    """Compiles, and takes as many steps as each line of standard input says."""
    from brainformer.model.config import ModelConfig
    from brainformer.worker.devices.compiler_options import dispatch_in_order
    from brainformer.worker.timing.clock import SystemClock
    from brainformer.worker.training.program import compile_program, wait

    dispatch_in_order()
    proxy = PROXY.model_copy(update={"blocks": blocks})
    config = replace(ModelConfig.of_proxy(genome(), proxy, platform="cpu"), **way)
    program = compile_program(config, proxy, seed=0, clock=SystemClock(), cache_folder=None)
    compiled = {
        "compile_seconds": round(program.step_compile_seconds, 3),
        "memory_mib": round(program.memory_bytes / 2**20, 1),
    }
    print(json.dumps(compiled), flush=True)
    state, number = program.initial(), 0
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            state, metrics = program.step(state, tokens(number), np.float32(0.5))
            wait(metrics)
            seconds.append(time.perf_counter() - start)
            number += 1
        print(json.dumps(seconds), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 3, 6, 12])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=3, help="of each way in a round")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
