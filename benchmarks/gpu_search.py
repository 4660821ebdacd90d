"""A search at 100M activated parameters on one accelerator: propose, train, tell, in one process.

The genomes come from `ask` of a search in memory, the training is a trial's own
(`worker/training/proxy_training.py`) without Ray and without HTTP: the first trials are GLaM's
block and random genomes of Table 1's space (arXiv:2306.00008), later ones what evolution makes of
them. For each the result says how it ended, its loss, its step, and three figures of memory: the
estimate that a controller refuses genomes by, the compiler's account, and the device's own peak,
which the estimate was fitted to on other models than these. Without an accelerator the result says
"not run".

    python -m benchmarks.gpu_search [--seconds 480] [--budget 8]
    python -m benchmarks.gpu_search --small      the nano preset on a CPU
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_step import peak_flops, stand_ins
from benchmarks.report import report

PRESET, SMALL_PRESET = "brainformer-100m32e", "nano"
SEED = 11
GIB = 2**30
EXPECTED = {"completed", "out_of_memory"}  # what a sound genome may end as


def main() -> None:
    options = _options()
    stand_ins()
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu" and not options.small:
        print("no accelerator: not run")
        _report([], device, options)
        return
    _report(_searched(options), device, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=480.0, help="no trial starts after these")
    parser.add_argument("--budget", type=float, default=8.0, help="training seconds of a trial")
    parser.add_argument("--seed", type=int, default=SEED, help="of the search")
    parser.add_argument("--small", action="store_true", help="the nano preset, on a CPU")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _searched(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns what became of each trial that was begun in time."""
    from brainformer.search.ask_tell.contract import ask_tell_spec
    from brainformer.search.ask_tell.in_memory import MemorySearch
    from brainformer.search.proxy.builtin_proxies import load_proxy
    from brainformer.worker.datasets.catalogue import open_dataset

    preset = SMALL_PRESET if options.small else PRESET
    changes = {"budget_seconds": options.budget, "clock": "wall", "dataset": "python-stdlib"}
    proxy = load_proxy(preset).model_copy(update=changes)
    spec = ask_tell_spec(
        preset, seed=options.seed, population_size=4, tournament_size=2, seeds=("glam",)
    )
    search, rows = MemorySearch(spec), []
    with tempfile.TemporaryDirectory() as folder:
        data = open_dataset(proxy.dataset, Path(folder))
        ends = time.monotonic() + options.seconds
        while time.monotonic() < ends:
            asked = search.ask()
            row = _trained(asked, proxy, data)
            if row["loss"] is None:
                search.fail(asked, str(row["outcome"]))
            else:
                search.tell(asked, -row["loss"], step_time_ms=row["step_ms"])
            rows.append(row)
            print(row, flush=True)
    return rows


def _trained(asked: Any, proxy: Any, data: Any) -> dict[str, Any]:
    """Returns what became of one trial, and what it used."""
    import jax

    from brainformer.search.cost.cost import flops_per_token, memory_bytes
    from brainformer.search.trials.lease_messages import Directive
    from brainformer.search.trials.trial import Outcome
    from brainformer.worker.training.proxy_training import train_proxy
    from tests.worker.leases import make_lease

    device = jax.devices()[0]
    lease = make_lease(genome=asked.genome, proxy=dict(proxy), seed=asked.seed)
    began = time.monotonic()
    result = train_proxy(lease, on_progress=lambda _: Directive(action="continue"), data=data)
    took, measured = time.monotonic() - began, result.measurements
    completed = result.outcome is Outcome.COMPLETED
    step, peak = measured.step_time_ms, peak_flops(device.device_kind)
    flops = flops_per_token(asked.genome, proxy) * proxy.batch_size * proxy.sequence_length
    return {
        "trial": asked.number,
        "origin": asked.origin,
        "genome": asked.genome.canonical(),
        "outcome": result.outcome.value,
        "message": result.message[:200],
        "loss": measured.validation_loss if completed else None,
        "steps": measured.steps,
        "step_ms": step,
        "of_peak": None if not (step and peak) else round(flops / step * 1e3 / peak, 4),
        "parameters": measured.parameters,
        "activated": measured.activated_parameters,
        "compile_seconds": measured.compile_seconds,
        "whole_seconds": round(took, 1),
        "estimated_gib": round(memory_bytes(asked.genome, proxy, platform=_kind(device)) / GIB, 2),
        "compilers_gib": _gib(measured.estimated_memory_bytes),
        # The process's so far: it tells of this trial if it has risen.
        "peak_gib": _gib(measured.peak_memory_bytes),
    }


def _kind(device: Any) -> str:
    return "cpu" if device.platform == "cpu" else "gpu"


def _gib(count: int | None) -> float | None:
    return None if count is None else round(count / GIB, 2)


def _report(rows: list[dict[str, Any]], device: Any, options: argparse.Namespace) -> None:
    completed = [row for row in rows if row["loss"] is not None]
    errors = [
        row["estimated_gib"] / row["compilers_gib"] - 1 for row in rows if row["compilers_gib"]
    ]
    report(
        name="gpu-search",
        value=len(completed) if rows else "not run",
        unit=f"trials completed in {options.seconds:.0f} s, {options.budget:.0f} s of training",
        target="no figure is asked; every trial ends as it should",
        ok={row["outcome"] for row in rows} <= EXPECTED if rows else None,
        peers={},
        details={
            "device": device.device_kind,
            "begun": len(rows),
            "outcomes": sorted({row["outcome"] for row in rows}),
            "memory_estimate_off": [round(error, 3) for error in errors],
            "memory_estimate_median_off": statistics.median(map(abs, errors)) if errors else None,
            "trials": rows,
        },
        keep=not options.no_keep,
    )


if __name__ == "__main__":
    main()
