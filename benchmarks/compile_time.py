"""Compilation of the training step of `benchmarks.cpu_step`: cold, and from the persistent cache.

Every measurement is a fresh process, from tracing to the loaded program. A cold one starts with an
empty cache folder, a warm one finds in it what the cold one left.

    python -m benchmarks.compile_time [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cpu_step import PROXY, THREADS, genome
from benchmarks.report import report
from brainformer.worker.process.environment import trial_environment

COLD_TARGET_SECONDS = 3.0
WARM_TARGET_SECONDS = 1.0


def main() -> None:
    options = _options()
    if options.child:
        print(json.dumps(measure(Path(options.child))))
        return
    cold, warm = [], []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_fresh_process(folder))
            warm.append(_fresh_process(folder))
    _judge(cold, warm, options)


def measure(cache_folder: Path) -> dict[str, float]:
    """Returns seconds of compilation in this process: the step, the program, initial values."""
    import jax

    from brainformer.model.config import ModelConfig
    from brainformer.worker.training.program import compile_program

    config = ModelConfig.of_proxy(genome(), PROXY, platform="cpu")
    clock = _BothClocks()
    program = compile_program(config, PROXY, seed=0, clock=clock, cache_folder=cache_folder)
    start, step, compiled = clock.processor_seconds
    ended = clock.now()
    jax.block_until_ready(program.initial())  # type: ignore[no-untyped-call]
    return {
        "step": program.step_compile_seconds,
        "program": program.compile_seconds,
        "initial": clock.now() - ended,
        "step_processor": step - start,
        "program_processor": compiled - start,
    }


class _BothClocks:
    """Real time, keeping the processor time of each look: what a lone core would have taken."""

    def __init__(self) -> None:
        self.processor_seconds: list[float] = []

    def now(self) -> float:
        self.processor_seconds.append(time.process_time())
        return time.perf_counter()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def _fresh_process(folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.compile_time", "--child", folder]
    environment = os.environ | trial_environment("cpu", THREADS)
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    return result


def _judge(
    cold: list[dict[str, float]], warm: list[dict[str, float]], options: argparse.Namespace
) -> None:
    medians: dict[str, dict[str, Any]] = {
        name: {part: round(statistics.median(run[part] for run in runs), 2) for part in runs[0]}
        for name, runs in (("cold", cold), ("warm", warm))
    }
    for name, parts in medians.items():
        print(name, "  ".join(f"{part} {seconds:.2f} s" for part, seconds in parts.items()))
    value, cached = medians["cold"]["step"], medians["warm"]["step"]
    report(
        name="compile-time",
        value=value,
        unit="seconds, training step, cold",
        target=f"at most {COLD_TARGET_SECONDS:g} cold and {WARM_TARGET_SECONDS:g} from the cache",
        ok=value <= COLD_TARGET_SECONDS and cached <= WARM_TARGET_SECONDS,
        details={"cached": cached, "repeats": len(cold), **medians},
        keep=not options.no_keep,
    )


if __name__ == "__main__":
    main()
