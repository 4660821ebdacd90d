"""How many steps the calibrated clock decides on, against what the machine does in the budget.

The record search's rival, its found block, and the deepest wide member of the rival's family are
compiled as in a worker's process, on one core. In turns, each is calibrated as before a trial, then
trains in blocks, and the reference kernel runs as between them. What counts is the same for all
three: a clock that is slow for large blocks and fast for small ones would be unfair to the small.
Wants a quiet machine.

    python -m benchmarks.calibration [--rounds 8]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.found_block import Block, read_trials
from benchmarks.one_core_trials import CACHE, Run, lease_of, restart_as_trial
from benchmarks.report import report
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.genome import parse_genome

OBJECTIVES = Path(__file__).parent / "objectives"
BEST, TRIALS = OBJECTIVES / "record_best.json", OBJECTIVES / "record_trials.jsonl"
LARGE = "glam, 8 sub-layers, d=64"
TRAINING_SECONDS = 3.0
WANTED = 0.1


class Round(NamedTuple):
    """One look at a block.

    Attributes:
        decided_seconds: A step's time by the calibration before training.
        real_seconds: As the machine had it in training.
        contention: As a trial reports it.
    """

    decided_seconds: float
    real_seconds: float
    contention: float


def main() -> None:
    options = _options()
    restart_as_trial("benchmarks.calibration")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    blocks = _blocks()
    seen: dict[str, list[Round]] = {name: [] for name in blocks}
    programs = {name: _Program(block) for name, block in blocks.items()}
    for _ in range(options.rounds):
        for name, program in programs.items():
            seen[name].append(program.look())
    _judge(seen, keep=not options.no_keep)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _blocks() -> dict[str, Block]:
    export = json.loads(BEST.read_text("utf-8"))
    family, candidates = read_trials(TRIALS)
    rival, found = parse_genome(export["baseline"]["rival"]), parse_genome(export["genome"])
    return {
        "rival": next(one for one in family if one.genome.digest == rival.digest),
        "found": next(one for one in candidates if one.genome.digest == found.digest),
        "large": next(one for one in family if one.label == LARGE),
    }


class _Program:
    """A block, compiled and warm."""

    def __init__(self, block: Block) -> None:
        from brainformer.worker.datasets.catalogue import open_dataset
        from brainformer.worker.devices.compiler_options import dispatch_in_order
        from brainformer.worker.training.proxy_training import compile_lease

        dispatch_in_order()
        self.proxy = load_proxy("nano").model_copy(update={"clock": "calibrated"})
        self.data = open_dataset(self.proxy.dataset)
        self.program = compile_lease(lease_of(Run(block.genome, self.proxy, 1)), cache_folder=CACHE)
        self.state = self.program.initial()

    def look(self) -> Round:
        """Calibrates, then trains for a while in blocks, whose time the clock and a trial see."""
        from brainformer.worker.timing.clock import SystemClock
        from brainformer.worker.timing.step_time import block_seconds
        from brainformer.worker.training.warm_up import warm_up

        warm = warm_up(
            self.program,
            self.proxy,
            self.data,
            clock=SystemClock(),
            platform="cpu",
            cache_folder=CACHE,
            decided=None,
        )
        steps = max(1, round(block_seconds("cpu") / warm.step_seconds))
        timer, real = warm.timer, []
        while timer.seconds < TRAINING_SECONDS:
            _, seconds = timer.run(lambda: self._train(steps, timer.steps), steps)
            timer.run_reference(after_block=True)
            real.append(seconds / steps)
        return Round(warm.step_seconds, statistics.median(real), timer.contention)

    def _train(self, steps: int, done: int) -> None:
        import numpy as np

        from brainformer.worker.training.program import wait

        metrics: Any = None
        for step in range(done, done + steps):
            tokens = self.data.train.batch(
                seed=1,
                step=step,
                batch_size=self.proxy.batch_size,
                length=self.proxy.sequence_length + 1,
            )
            self.state, metrics = self.program.step(self.state, tokens, np.float32(0.1))
        wait(metrics)


def _judge(seen: dict[str, list[Round]], *, keep: bool) -> None:
    rows: dict[str, dict[str, float]] = {}
    for name, rounds in seen.items():
        decided = [one.decided_seconds for one in rounds]
        rows[name] = {
            "decided_ms": 1e3 * statistics.mean(decided),
            "real_ms": 1e3 * statistics.median(one.real_seconds for one in rounds),
            "decided_over_real": statistics.median(
                one.decided_seconds / one.real_seconds for one in rounds
            ),
            "variation": statistics.stdev(decided) / statistics.mean(decided),
            "contention": statistics.median(one.contention for one in rounds),
        }
        rows[name] = {key: round(value, 4) for key, value in rows[name].items()}
        print(name, rows[name], flush=True)
    ratios = [row["decided_over_real"] for row in rows.values()]
    unfair = max(ratios) / min(ratios) - 1
    report(
        name="calibration",
        value=round(unfair, 4),
        unit="by how much more of its time one block is given than another",
        target=f"at most {WANTED}",
        ok=unfair <= WANTED,
        details={"blocks": rows, "rounds": len(seen["rival"])},
        keep=keep,
    )


if __name__ == "__main__":
    main()
