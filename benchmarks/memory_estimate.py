"""Peak memory of a trial's training step against the analytic estimate in search/cost.py.

The compiler's own account of the compiled step is what a trial is refused by; the estimate must
come within 15% of it for every genome, without jax. Beside it stands what the process really
used: the growth of its resident memory over three steps, in a fresh process each.

    python -m benchmarks.memory_estimate [--no-keep]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cpu_step
from benchmarks.report import report
from search.cost import check_trainable, memory_bytes
from search.errors import InvalidGenome
from search.genome import Genome
from search.proxies import load_proxy
from search.space import load_preset
from search.spec import Proxy
from search.zoo import zoo_genome
from worker.process_environment import trial_environment

TARGET = 0.15
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
        print(json.dumps(measure(*cases()[options.child])))
        return
    results: dict[str, dict[str, Any]] = {}
    for name, (genome, proxy) in cases().items():
        measured = _fresh_process(name)
        estimate = memory_bytes(genome, proxy)
        error = estimate / measured["compiled"] - 1
        results[name] = {**measured, "estimate": estimate, "error": round(error, 3)}
        print(
            f"{name:>28}  estimate {estimate / 2**20:7.1f} MiB  compiled "
            f"{measured['compiled'] / 2**20:7.1f} MiB  {error:+6.1%}  process grew by "
            f"{measured['process'] / 2**20:7.1f} MiB",
            flush=True,
        )
    worst = max(abs(result["error"]) for result in results.values())
    report(
        name="memory-estimate",
        value=worst,
        unit="largest error of the estimate, relative to the compiled step's memory",
        target=f"at most {TARGET}",
        ok=worst <= TARGET,
        details=results,
        keep=not options.no_keep,
    )


def measure(genome: Genome, proxy: Proxy) -> dict[str, int]:
    """Returns bytes of the compiled step, and by how much this process grew over three steps."""
    import jax

    from model.config import ModelConfig
    from worker.clock import SystemClock
    from worker.program import compile_program

    config = ModelConfig.of_proxy(genome, proxy, platform="cpu")
    program = compile_program(config, proxy, seed=0, clock=SystemClock(), cache_folder=None)
    before = _resident_bytes()
    # Compilation's peak is not the trial's: start counting here.
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    state = program.initial()
    tokens = np.zeros((proxy.batch_size, proxy.sequence_length + 1), np.int32)
    for _ in range(3):
        state, metrics = program.step(state, tokens, np.float32(0.5))
        jax.block_until_ready(metrics)
    return {"compiled": program.memory_bytes, "process": _peak_bytes() - before}


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
    for variable in ("MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"):
        environment.pop(variable, None)  # what compilation used and freed would hide the steps
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
