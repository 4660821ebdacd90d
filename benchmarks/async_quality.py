"""Asynchronous quality: what is lost when 64 trials are in flight at every moment.

The same searches on the same objectives, one trial after another and 64 at once; trials end in the
order of random durations. Quality is the share of the way from random search to the optimum,
1 - regret / regret of random search, after equally many evaluations. At 100 evaluations a search
with 64 in flight has seen 36 results at most when it makes its last proposal.

    python -m benchmarks.async_quality [--seeds 20] [--objectives epistatic,noisy,nano]
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.objectives.objective import Objective
from benchmarks.report import report
from benchmarks.search_quality import objective, regret
from brainformer.search.ask_tell.contract import AskedTrial, ask_tell_spec
from brainformer.search.ask_tell.in_memory import MemorySearch

MARKS = (100, 200, 400)
JUDGED = (200, 400)
IN_FLIGHT = 64
LEAST_QUALITY = 0.8
WAYS = {
    "sequential": ("regularized_evolution", 1),
    "in flight": ("regularized_evolution", IN_FLIGHT),
    "random": ("random", 1),
}


def main() -> None:
    options = _options()
    names = options.objectives.split(",")
    lost: dict[str, list[float]] = {}
    details: dict[str, dict[str, list[float]]] = {}
    for name in names:
        regrets = {
            way: np.mean(
                [_run(objective(name, seed), seed, *how) for seed in range(options.seeds)], axis=0
            )
            for way, how in WAYS.items()
        }
        quality = {way: 1 - regrets[way] / regrets["random"] for way in ("sequential", "in flight")}
        lost[name] = (1 - quality["in flight"] / quality["sequential"]).round(4).tolist()
        details[name] = {
            f"{figure}, {way}": found.round(4).tolist()
            for figure, ways in (("quality", quality), ("regret", regrets))
            for way, found in ways.items()
        }
        print(f"{name:14s} lost at {MARKS}: {lost[name]}", flush=True)
    judged = [lost[name][MARKS.index(mark)] for name in names for mark in JUDGED]
    report(
        name="async-quality",
        value=max(judged),
        unit=f"largest share of quality lost with {IN_FLIGHT} in flight after {JUDGED} evaluations",
        target="at most 0.2",
        ok=max(judged) <= 1 - LEAST_QUALITY,
        details={"lost": lost, "marks": MARKS, "seeds": options.seeds, "of": details},
        keep=not options.no_keep,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--objectives", default="epistatic,noisy,nano")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _run(target: Objective, seed: int, algorithm: str, in_flight: int) -> list[float]:
    """Returns the regret at every mark, with that many trials in flight."""
    search = MemorySearch(ask_tell_spec(target.space, seed=seed, algorithm=algorithm))
    rng, order = (np.random.default_rng([2306, 11, seed, stream]) for stream in range(2))
    running: list[tuple[float, AskedTrial]] = []
    values: list[float] = []
    now = 0.0
    while len(values) < MARKS[-1]:
        while len(running) < in_flight:
            running.append((now + float(order.lognormal(0.0, 0.3)), search.ask()))
        now, trial = min(running, key=lambda one: one[0])
        running.remove((now, trial))
        shown = target.evaluate(trial.genome, rng=rng)
        search.tell(trial, shown.fitness, pruned=shown.pruned)
        values.append(target.value(trial.genome))
    return [regret(target, values[:mark]) for mark in MARKS]


if __name__ == "__main__":
    main()
