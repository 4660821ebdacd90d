"""A dispatcher with many Tune slots whose trials only sleep: how busy it keeps them.

One controller (SQLite) and one dispatcher run as their own processes on this machine. Busy is the
share of slot seconds that were slept, between the first second in which every slot had begun a
trial and the last claim. Also told: leases a second, the controller's processor time, and the
memory of each part.

    python -m benchmarks.dispatcher_scale [--slots 64] [--sleep 2] [--trials 2000]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import report
from benchmarks.stack import Stack, search_spec

TARGET = 0.95
WATCH_SECONDS = 40.0  # to read the memory of 150 processes takes a second of processor time


@dataclass
class Watch:
    """What a thread sees of the processes while the trials run."""

    memory: dict[str, float] = field(default_factory=dict)
    processor_seconds: dict[str, float] = field(default_factory=dict)


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="dispatcher-scale-") as folder,
        Stack(Path(folder), slots=options.slots, runner="sleep") as stack,
    ):
        spec = search_spec("scale", trials=options.trials, budget_seconds=options.sleep)
        search = stack.create(spec)
        watch, over = Watch(), threading.Event()
        watcher = threading.Thread(target=_watch, args=(stack, watch, over), daemon=True)
        watcher.start()
        stack.wait(search, seconds=options.limit)
        over.set()
        watcher.join()
        trials = stack.trials(search)
    _judge(trials, watch, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--sleep", type=float, default=2.0, help="seconds of a trial")
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--limit", type=float, default=420.0, help="seconds to give it")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _watch(stack: Stack, watch: Watch, over: threading.Event) -> None:
    """Keeps the largest memory and the last processor time of each part."""
    while not over.wait(WATCH_SECONDS):
        for part, processes in stack.parts().items():
            used = [_usage(process) for process in processes]
            memory = sum(one[0] for one in used)
            watch.memory[part] = max(watch.memory.get(part, 0.0), memory)
            watch.processor_seconds[part] = max(
                watch.processor_seconds.get(part, 0.0), sum(one[1] for one in used)
            )


def _usage(process: psutil.Process) -> tuple[float, float]:
    """Returns a process's own memory in MiB, shared pages apart, and its processor seconds."""
    try:
        times = process.cpu_times()
        return process.memory_full_info().uss / 2**20, times.user + times.system
    except psutil.Error:
        return 0.0, 0.0


def _judge(trials: list[dict[str, Any]], watch: Watch, options: argparse.Namespace) -> None:
    ended = [one for one in trials if one["finished_at"] and one["status"] == "completed"]
    slept = [(_ended(one) - one["measurements"]["training_seconds"], _ended(one)) for one in ended]
    starts = sorted(start for start, _ in slept)
    first, last = starts[min(options.slots, len(starts)) - 1], starts[-1]
    inside = sum(max(0.0, min(end, last) - max(start, first)) for start, end in slept)
    busy = inside / (options.slots * (last - first))
    rate = sum(first <= start <= last for start in starts) / (last - first)
    print(f"{len(ended)} trials, {busy:.1%} of {options.slots} slots busy, {rate:.1f} leases/s")
    for part, memory in sorted(watch.memory.items()):
        seconds = watch.processor_seconds[part]
        print(f"{part:>12}: {memory:8.0f} MiB, {seconds:7.1f} processor seconds")
    wall = time.time() - starts[0]
    report(
        name="dispatcher-scale",
        value=round(busy, 4),
        unit=f"share of {options.slots} slots asleep in trials of {options.sleep:g} s",
        target=f"at least {TARGET}",
        ok=busy >= TARGET and options.slots >= 64,
        details={
            "trials": len(ended),
            "leases_per_second": round(rate, 2),
            "window_seconds": round(last - first, 1),
            "seconds_to_fill_the_slots": round(first - starts[0], 1),
            "controller_processor_share": round(
                watch.processor_seconds.get("controller", 0.0) / wall, 3
            ),
            "memory_mib": {part: round(size) for part, size in watch.memory.items()},
            "processor_seconds": {k: round(v, 1) for k, v in watch.processor_seconds.items()},
        },
        keep=not options.no_keep,
    )


def _ended(trial: dict[str, Any]) -> float:
    return datetime.fromisoformat(trial["finished_at"]).timestamp()


if __name__ == "__main__":
    main()
