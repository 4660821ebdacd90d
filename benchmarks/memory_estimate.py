"""Peak memory of a trial's training step against the analytic estimate in search/cost/cost.py.

The estimate needs no jax; the compiler's own account of the compiled step is what a trial is
refused by. Both are compared with what the process really holds, in a fresh process each and the
environment of a trial: its highest resident memory through warm-up, training and evaluation, less
what is left when the state is gone and the allocator has given back what is free.

    python -m benchmarks.memory_estimate [--no-keep]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cpu_step
from benchmarks.report import report
from brainformer.search.cost.cost import memory_bytes
from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.worker.process.environment import trial_environment
from brainformer.worker.training.heap import give_back
from brainformer.worker.training.layout import TrainingState
from brainformer.worker.training.program import Program, wait

TARGET = 0.15
WARM_UP, BLOCKS, STEPS = 5, 3, 5
RANDOM_GENOMES = 6
ZOO = ("glam", "dense_transformer", "switch", "primer", "low_rank", "brainformer_1_approximation")
LONG = {"sequence_length": 128, "batch_size": 32}


def cases() -> dict[str, tuple[Genome, Proxy]]:
    """Returns genomes and proxies by name: the zoo, random ones, a longer sequence."""
    space, nano = load_preset("nano"), load_proxy("nano")
    found = {name: (zoo_genome(name, space), nano) for name in ZOO}
    found["cpu_step"] = (cpu_step.genome(), cpu_step.PROXY)
    found["glam_long"] = (zoo_genome("glam", space), nano.model_copy(update=LONG))
    for index in range(RANDOM_GENOMES):
        genome = space.sample(rng=np.random.default_rng([2306, index]))
        try:
            check_trainable(genome, nano)
        except InvalidGenome:
            continue
        found[f"random_{index}"] = (genome, nano)
    return found


def main() -> None:
    options = _options()
    if options.child:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # a core a trial
        print(json.dumps(measure(*cases()[options.child])))
        return
    results: dict[str, dict[str, Any]] = {}
    for name, (genome, proxy) in cases().items():
        measured = _fresh_process(name)
        estimate = memory_bytes(genome, proxy)
        errors = {key: round(estimate / measured[key] - 1, 3) for key in measured}
        results[name] = {**measured, "estimate": estimate, "errors": errors}
        against = "  ".join(
            f"{key} {measured[key] / 2**20:7.1f} MiB {error:+6.1%}" for key, error in errors.items()
        )
        print(f"{name:>28}  estimate {estimate / 2**20:7.1f} MiB  {against}", flush=True)
    worst = {key: max(abs(result["errors"][key]) for result in results.values()) for key in errors}
    report(
        name="memory-estimate",
        value=worst["process"],
        unit="largest error of the estimate, relative to what the process held",
        target=f"at most {TARGET}",
        ok=max(worst.values()) <= TARGET,
        details={"largest_errors": worst, **results},
        keep=not options.no_keep,
    )


def measure(genome: Genome, proxy: Proxy) -> dict[str, int]:
    """Returns bytes of the compiled step, and what this process held beyond what it keeps."""
    from brainformer.model.config import ModelConfig
    from brainformer.worker.devices.compiler_options import dispatch_in_order
    from brainformer.worker.timing.clock import SystemClock
    from brainformer.worker.training.program import compile_program

    dispatch_in_order()
    config = ModelConfig.of_proxy(genome, proxy, platform="cpu")
    program = compile_program(config, proxy, seed=0, clock=SystemClock(), cache_folder=None)
    tokens = np.zeros((proxy.batch_size, proxy.sequence_length + 1), np.int32)
    _start_counting()  # compilation's peak is not the trial's
    state = _warmed_up(program, tokens)
    state = _trained(program, state, tokens)
    trial = _peak_bytes()
    _start_counting()
    state = _trained(program, state, tokens)
    training = _peak_bytes()
    del state
    gc.collect()
    give_back()
    left = _resident_bytes()
    return {
        "compiled": program.memory_bytes,
        "training": training - left,
        "process": trial - left,
    }


def _warmed_up(program: Program, tokens: np.ndarray) -> TrainingState:
    """Returns the initial state, after a warm-up on one of its own as long as a trial's."""
    dummy = program.initial()
    for _ in range(WARM_UP):
        dummy, metrics = program.step(dummy, tokens, np.float32(0.0))
        wait(metrics)
    del dummy, metrics
    return program.initial()


def _trained(program: Program, state: TrainingState, tokens: np.ndarray) -> TrainingState:
    """Returns the state after blocks of steps, each with an evaluation behind it."""
    for _ in range(BLOCKS):
        for _ in range(STEPS):
            state, metrics = program.step(state, tokens, np.float32(0.5))
        wait(metrics)
        wait(program.evaluate(state, tokens))
    return state


def _start_counting() -> None:
    """Forgets the highest resident memory so far."""
    gc.collect()
    give_back()
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    line = next(line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _fresh_process(name: str) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.memory_estimate", "--child", name]
    environment = os.environ | trial_environment("cpu", 1)
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, int] = json.loads(output.stdout.splitlines()[-1])
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
