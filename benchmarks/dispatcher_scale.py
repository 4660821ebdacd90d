"""A dispatcher with many Tune slots whose trials only sleep: how busy it keeps them.

One controller (SQLite) and one dispatcher run as their own processes on this machine. Busy is the
share of slot seconds that were slept, between the first second in which every slot had begun a
trial (each has its training process, which is half a second earlier) and the last claim. Also told:
the same from the 64th trial on, which counts most of the slots' start; leases a second; processor
time and memory of each part.

    python -m benchmarks.dispatcher_scale [--slots 64] [--sleep 2] [--trials 2000]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import report
from tests.worker.stack import Stack, search_spec

TARGET = 0.95
WATCH_SECONDS = 40.0  # to read the memory of 150 processes takes a second of processor time


@dataclass(frozen=True)
class Usage:
    """What each part had used at a time: processor seconds, and own memory in MiB."""

    at: float
    processor_seconds: dict[str, float]
    memory_mib: dict[str, float]


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="dispatcher-scale-") as folder,
        Stack(Path(folder), slots=options.slots, runner="sleep") as stack,
    ):
        spec = search_spec("scale", trials=options.trials, budget_seconds=options.sleep)
        search = stack.create(spec)
        usages: list[Usage] = []
        over = threading.Event()
        watcher = threading.Thread(
            target=_watch, args=(stack, options.slots, usages, over), daemon=True
        )
        watcher.start()
        stack.wait(search, seconds=options.limit)
        over.set()
        watcher.join()
        trials = stack.trials(search)
    _judge(trials, usages, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--sleep", type=float, default=2.0, help="seconds of a trial")
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--limit", type=float, default=420.0, help="seconds to give it")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _watch(stack: Stack, slots: int, usages: list[Usage], over: threading.Event) -> None:
    """Keeps what the parts use, from the second on in which every slot has begun a trial."""
    while len(stack.parts()["training"]) < slots:
        if over.wait(1.0):
            return
    while True:
        usages.append(_usage(stack))
        if over.wait(WATCH_SECONDS):
            return


def _usage(stack: Stack) -> Usage:
    parts = stack.parts()
    processor_seconds, memory = dict.fromkeys(parts, 0.0), dict.fromkeys(parts, 0.0)
    at = time.time()
    for part, processes in parts.items():
        for process in processes:
            try:
                times, own = process.cpu_times(), process.memory_full_info().uss
            except psutil.Error:
                continue
            processor_seconds[part] += times.user + times.system
            memory[part] += own / 2**20
            if part == "actors":  # the training processes that they have replaced
                processor_seconds["training"] += times.children_user + times.children_system
    return Usage(at, processor_seconds, memory)


def _judge(trials: list[dict[str, Any]], usages: list[Usage], options: argparse.Namespace) -> None:
    ended = [one for one in trials if one["finished_at"] and one["status"] == "completed"]
    slept = [(_ended(one) - one["measurements"]["training_seconds"], _ended(one)) for one in ended]
    starts = sorted(start for start, _ in slept)
    if not usages:
        raise TimeoutError(f"{options.slots} slots never ran at once; {len(ended)} trials ended")
    filled, last = usages[0].at, starts[-1]
    busy, rate = _busy(slept, filled, last, options.slots)
    with_start, _ = _busy(slept, starts[options.slots - 1], last, options.slots)
    print(f"{len(ended)} trials, {busy:.1%} of {options.slots} slots busy, {rate:.1f} leases/s")
    shares = _shares(usages)
    for part, share in shares.items():
        cost = 1e3 * share / rate
        memory = max(one.memory_mib[part] for one in usages)
        print(f"{part:>12}: {memory:8.0f} MiB, {share:6.3f} cores, {cost:6.2f} ms a lease")
    report(
        name="dispatcher-scale",
        value=round(busy, 4),
        unit=f"share of {options.slots} slots asleep in trials of {options.sleep:g} s",
        target=f"at least {TARGET}",
        ok=busy >= TARGET and options.slots >= 64,
        details={
            "trials": len(ended),
            "leases_per_second": round(rate, 2),
            "window_seconds": round(last - filled, 1),
            "seconds_to_fill_the_slots": round(filled - starts[0], 1),
            "busy_from_the_64th_trial": round(with_start, 4),
            "controller_processor_share": round(shares["controller"], 3),
            "processor_shares": {part: round(share, 3) for part, share in shares.items()},
            "memory_mib": {
                part: round(max(one.memory_mib[part] for one in usages)) for part in shares
            },
        },
        keep=not options.no_keep,
    )


def _busy(
    slept: list[tuple[float, float]], first: float, last: float, slots: int
) -> tuple[float, float]:
    """Returns the share of slot seconds slept from `first` to `last`, and trials a second."""
    inside = sum(max(0.0, min(end, last) - max(start, first)) for start, end in slept)
    begun = sum(first <= start <= last for start, _ in slept)
    return inside / (slots * (last - first)), begun / (last - first)


def _shares(usages: list[Usage]) -> dict[str, float]:
    """Returns the processors that each part took between the first look and the last."""
    first, last = usages[0], usages[-1]
    seconds = max(last.at - first.at, 1e-9)
    before = first.processor_seconds
    return {part: (used - before[part]) / seconds for part, used in last.processor_seconds.items()}


def _ended(trial: dict[str, Any]) -> float:
    return datetime.fromisoformat(trial["finished_at"]).timestamp()


if __name__ == "__main__":
    main()
