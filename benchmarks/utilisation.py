"""Utilisation: which share of a slot's time trains, with everything counted.

A controller and a dispatcher run 20 random nano trials and the baseline to their ends, or, with
`--usual`, a search with its defaults: its rival's family, evolution, and trials that are pruned,
which count like the others. Random blocks are larger and seldom share a compiled piece. Utilisation
is the training seconds of all trials over the seconds that slots spent on them: from the claim, or
from the slot's last result where the lease was claimed ahead, to the result, plus the gaps between.
The start of the process, data, tracing, compilation, warm-up, evaluation and reports are all in it;
a slot that waits for the baseline to end is not. A slot claims once its process is ready, so the
first start, seen on the slot that claims first, is added for every slot. The gap is what passes
from a result to the next claim on the same slot. The controller's clock and its records are what is
counted by.

    python -m benchmarks.utilisation [--budget 10] [--trials 20] [--slots 2] [--usual]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.report import report
from tests.worker.stack import Stack, search_spec

TARGETS = {10.0: 0.80, 60.0: 0.95}
GAP_TARGET_MS = 150.0


def main() -> None:
    options = _options()
    spec = search_spec("utilisation", trials=options.trials, budget_seconds=options.budget)
    if options.usual:
        spec = {name: spec[name] for name in ("name", "space", "proxy", "limits")}
        spec |= {"baseline": "glam*"}
    extra = ("--compile-ahead",) if options.compile_ahead else ()
    with (
        tempfile.TemporaryDirectory(prefix="utilisation-") as folder,
        Stack(Path(folder), slots=options.slots, runner="train", extra=extra) as stack,
    ):
        search = stack.create(spec | {"seed": options.seed})
        stack.wait(search, seconds=options.limit)
        trials = stack.trials(search)
        begun = min(process.create_time() for process in stack.parts()["training"])
    ended = {"completed", "pruned"} if options.usual else {"completed"}
    _judge([one for one in trials if one["status"] in ended], begun, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=10.0, help="training seconds of a trial")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--slots", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--usual", action="store_true", help="a search with its defaults")
    parser.add_argument("--compile-ahead", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds to give it")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _judge(trials: list[dict[str, Any]], begun: float, options: argparse.Namespace) -> None:
    """Reports; `begun` is when the first training process was started."""
    measured = [one["measurements"] for one in trials]
    spans = sorted((_at(one["started_at"]), _at(one["finished_at"])) for one in trials)
    wall = max(end for _, end in spans) - spans[0][0]
    trained = sum(one["training_seconds"] or 0.0 for one in measured)
    gaps, ahead = _gaps(spans, options.slots)
    first_start = max(0.0, spans[0][0] - begun)
    occupied = sum(end - start for start, end in spans) - sum(ahead) + sum(gaps)
    occupied += options.slots * first_start
    utilisation = trained / occupied
    other = {
        name: statistics.mean(one[name] or 0.0 for one in measured)
        for name in ("compile_seconds", "training_seconds", "occupied_seconds", "contention")
    }
    rest = other["occupied_seconds"] - other["compile_seconds"] - other["training_seconds"]
    gap_ms = 1e3 * statistics.median(gaps) if gaps else 0.0
    print(f"{len(trials)} trials in {wall:.0f} s on {options.slots} slots: {utilisation:.1%} busy")
    for name, value in {**other, "other_seconds": rest}.items():
        print(f"{name:>20} {value:8.2f}")
    target = TARGETS.get(options.budget)
    report(
        name="utilisation",
        value=round(utilisation, 4),
        unit=f"training seconds / slot seconds, budgets of {options.budget:g} s",
        target="none for this budget" if target is None else f"at least {target}",
        ok=None if target is None else utilisation >= target,
        details={
            "search": "usual" if options.usual else "random",
            "trials": len(trials),
            "slots": options.slots,
            "compile_ahead": options.compile_ahead,
            "seconds": round(wall, 1),
            "trials_an_hour": round(3600 * len(trials) / wall, 1),
            "training_over_all_slot_seconds": round(trained / options.slots / wall, 4),
            "gap_ms_median": round(gap_ms, 1),
            "gap_ms_worst": round(1e3 * max(gaps, default=0.0), 1),
            "first_start_seconds": round(first_start, 2),
            "gap_ok": gap_ms <= GAP_TARGET_MS,
            "means": {name: round(value, 3) for name, value in other.items()},
            "other_seconds": round(rest, 3),
        },
        keep=not options.no_keep,
    )


def _gaps(spans: list[tuple[float, float]], slots: int) -> tuple[list[float], list[float]]:
    """Returns the seconds from a slot's last result to its next claim, and from claim to that.

    Slots are alike, so a claim is taken to follow the latest result that none has followed yet;
    a claim ahead comes before the result that frees its slot.
    """
    gaps, ahead = [], []
    ends = sorted(end for _, end in spans)
    free: list[float] = []
    for start, _ in spans[slots:]:
        while ends and ends[0] <= start:
            free.append(ends.pop(0))
        if free:
            gaps.append(start - free.pop())
        else:
            ahead.append(ends.pop(0) - start)
    return gaps, ahead


def _at(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


if __name__ == "__main__":
    main()
