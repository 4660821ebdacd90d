"""Memory of a worker over 100 trials: dispatcher, Ray, slot and training process.

One slot trains 100 random nano genomes for a moment each, so that nearly all is what repeats:
compilation, state, evaluation, results. Memory is each process's own (USS), sampled while the
trials run; growth compares the peaks of the last twenty trials with those of trials 11 to 30, after
the allocator has met most sizes. By default the training process is replaced as it would be in
use; `--recycle-after 1000` shows what one process alone would grow by.

    python -m benchmarks.worker_memory [--trials 100] [--budget 0.5] [--recycle-after 50]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import report
from tests.worker.stack import Stack, search_spec

TARGET = 0.05
Samples = list[tuple[int, dict[str, float]]]  # trials that have ended, MiB by part


def main() -> None:
    options = _options()
    spec = search_spec("memory", trials=options.trials, budget_seconds=options.budget)
    spec["space"] = _space(options.space)
    extra = ("--recycle-after", str(options.recycle_after))
    samples: Samples = []
    with (
        tempfile.TemporaryDirectory(prefix="worker-memory-") as folder,
        Stack(Path(folder), slots=1, runner="train", extra=extra) as stack,
    ):
        search = stack.create(spec)
        over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(stack, search, samples, over), daemon=True)
        watcher.start()
        stack.wait(search, seconds=options.limit)
        over.set()
        watcher.join()
    _judge(samples, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--budget", type=float, default=0.5, help="training seconds of a trial")
    parser.add_argument("--space", choices=("nano", "tiny"), default="nano")
    parser.add_argument("--recycle-after", type=int, default=50)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds to give it")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _space(name: str) -> Any:
    """Returns the preset, or blocks of one or two small sub-layers that compile in a second."""
    if name != "tiny":
        return name
    return {
        "name": "tiny",
        "model_dim": [32],
        "min_layers": 1,
        "max_layers": 2,
        "layers": {
            "attention": {"heads": [2, 3, 4]},
            "feed_forward": {
                "hidden_dim": [32, 64, 96, 128],
                "activation": ["gated_relu", "gated_gelu", "relu", "gelu"],
            },
        },
    }


def _watch(stack: Stack, search: str, samples: Samples, over: threading.Event) -> None:
    while not over.wait(1.0):
        counts = stack.http.get(f"/searches/{search}").json()["counts"]
        ended = sum(counts.get(name, 0) for name in ("completed", "pruned", "failed"))
        memory = {
            part: sum(_own_mib(process) for process in processes)
            for part, processes in stack.parts().items()
            if part != "controller"
        }
        samples.append((ended, memory))


def _own_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss) / 2**20
    except psutil.Error:
        return 0.0


def _judge(samples: Samples, options: argparse.Namespace) -> None:
    last = max(ended for ended, _ in samples)
    early, late = _peaks(samples, 11, 30), _peaks(samples, last - 19, last)
    growth = {part: late[part] / early[part] - 1 for part in early if early[part]}
    total = sum(late.values()) / sum(early.values()) - 1
    rows = {part: (early[part], late[part]) for part in early}
    rows["together"] = (sum(early.values()), sum(late.values()))
    for part, (before, after) in rows.items():
        print(f"{part:>12} {before:8.0f} MiB {after:8.0f} MiB {after / before - 1:+7.1%}")
    report(
        name="worker-memory",
        value=round(total, 4),
        unit=f"growth of memory over {last} trials",
        target=f"less than {TARGET}",
        ok=total < TARGET and last >= 100,
        details={
            "trials": last,
            "budget_seconds": options.budget,
            "recycle_after": options.recycle_after,
            "space": options.space,
            "early_mib": {part: round(size) for part, size in early.items()},
            "late_mib": {part: round(size) for part, size in late.items()},
            "growth": {part: round(value, 4) for part, value in growth.items()},
        },
        keep=not options.no_keep,
    )


def _peaks(samples: Samples, first: int, last: int) -> dict[str, float]:
    """Returns, per part, the mean over trials first to last of each trial's highest memory."""
    highest: dict[str, dict[int, float]] = defaultdict(dict)
    for ended, memory in samples:
        if first <= ended <= last:
            for part, size in memory.items():
                highest[part][ended] = max(highest[part].get(ended, 0.0), size)
    return {part: statistics.mean(sizes.values()) for part, sizes in highest.items()}


if __name__ == "__main__":
    main()
