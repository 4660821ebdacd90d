"""Search quality: how far from the optimum after 50, 100, 200 and 400 evaluations, and who is.

Each search evaluates one genome after another on the same objectives with the same seeds. Regret is
the optimum minus the best true value among what was evaluated: in deviations of the table, in nats
a token for the fitness fitted on real nano trials. Ours is driven through ask and tell with its
defaults; the others are Optuna's and PyGlove's with theirs, in this process.

    python -m benchmarks.search_quality [--seeds 20] [--objectives epistatic,nano] [--cache FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.objectives.nano_fitness import nano_fitness
from benchmarks.objectives.objective import Evaluation, Objective
from benchmarks.objectives.sequence_table import STRUCTURES, SequenceTable
from benchmarks.report import report
from brainformer.search.ask_tell.contract import AskTell, ask_tell_spec
from brainformer.search.ask_tell.in_memory import MemorySearch
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space

MARKS = (50, 100, 200, 400)
OBJECTIVES = (*STRUCTURES, "nano")
MAIN = "epistatic"
Run = Callable[[Space, peers.Evaluate, int, int], None]
Regrets = dict[tuple[str, str], list[list[float]]]


def main() -> None:
    options = _options()
    for package in ("optuna", "pyglove"):
        peers.peer(package)
    cache = _Cache(options.cache)
    names = options.objectives.split(",")
    regrets: Regrets = {}
    for name in names:
        for seed in range(options.seeds):
            for search in SEARCHES:
                found = cache.get(search, name, seed) or measure(search, name, seed)
                cache.put(search, name, seed, found)
                regrets.setdefault((search, name), []).append(found)
        _print(regrets, name)
    _judge(regrets, names, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--objectives", default=",".join(OBJECTIVES))
    parser.add_argument("--cache", type=Path, help="where runs are kept, to go on after a break")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def objective(name: str, seed: int) -> Objective:
    """Returns the objective of that name; a table of its own for every seed."""
    return nano_fitness() if name == "nano" else SequenceTable(name, seed)


def measure(search: str, name: str, seed: int) -> list[float]:
    """Returns the regret at every mark of one search on one objective."""
    target = objective(name, seed)
    rng = np.random.default_rng([2306, 10, seed])
    values: list[float] = []

    def evaluate(genome: Genome) -> Evaluation:
        values.append(target.value(genome))
        return target.evaluate(genome, rng=rng)

    SEARCHES[search](target.space, evaluate, MARKS[-1], seed)
    return [regret(target, values[:mark]) for mark in MARKS]


def regret(target: Objective, values: list[float]) -> float:
    """Returns the optimum minus the best of `values`; what is all pruned counts as value -1."""
    best = max(values)
    return target.optimum - (best if np.isfinite(best) else -1.0)


def drive(search: AskTell, evaluate: peers.Evaluate, evaluations: int) -> None:
    """Runs one of our searches, one trial after another."""
    for _ in range(evaluations):
        trial = search.ask()
        shown = evaluate(trial.genome)
        search.tell(trial, shown.fitness, pruned=shown.pruned)


def _ours(**options: Any) -> Run:
    def run(space: Space, evaluate: peers.Evaluate, evaluations: int, seed: int) -> None:
        drive(MemorySearch(ask_tell_spec(space, seed=seed, **options)), evaluate, evaluations)

    return run


SEARCHES: dict[str, Run] = {
    "ours": _ours(),
    "regularized evolution": _ours(screening={"kind": "none"}),
    "random": _ours(algorithm="random"),
    "optuna tpe": peers.tpe,
    "optuna nsga2": peers.nsga2,
    "pyglove": peers.pyglove,
}


class _Cache:
    """Runs that were measured before, one JSON line each."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[tuple[str, str, int], list[float]] = {}
        if path is not None and path.exists():
            for line in path.read_text("utf-8").splitlines():
                row = json.loads(line)
                self._known[row["search"], row["objective"], row["seed"]] = row["regrets"]

    def get(self, search: str, name: str, seed: int) -> list[float] | None:
        return self._known.get((search, name, seed))

    def put(self, search: str, name: str, seed: int, regrets: list[float]) -> None:
        if self._path is None or (search, name, seed) in self._known:
            return
        row = {"search": search, "objective": name, "seed": seed, "regrets": regrets}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _print(regrets: Regrets, name: str) -> None:
    print(f"\n{name:24s}" + "".join(f"{f'after {mark}':>12s}" for mark in MARKS))
    for search in SEARCHES:
        means = np.mean(regrets[search, name], axis=0)
        print(f"{search:24s}" + "".join(f"{mean:12.4f}" for mean in means), flush=True)


def _judge(regrets: Regrets, names: list[str], options: argparse.Namespace) -> None:
    mean = {key: np.mean(rows, axis=0) for key, rows in regrets.items()}
    others = [search for search in SEARCHES if search != "ours"]
    ahead = {
        f"{name} at {mark}": bool(
            all(
                mean["ours", name][at] < mean[other, name][at]
                or mean["ours", name][at] == mean[other, name][at] == 0
                for other in others
            )
        )
        for name in names
        for at, mark in enumerate(MARKS)
    }
    at_100 = MARKS.index(100)
    ratios = {
        name: round(
            float(mean["ours", name][at_100] / max(mean["optuna tpe", name][at_100], 1e-9)), 4
        )
        for name in names
    }
    chosen = MAIN if MAIN in names else names[0]
    behind = sorted(key for key, yes in ahead.items() if not yes)
    print(f"\nregret at 100 against TPE's: {ratios}\nnot ahead of all: {behind or 'nowhere'}")
    report(
        name="search-quality",
        value=ratios[chosen],
        unit=f"our mean regret after 100 evaluations over TPE's, on {chosen} tables",
        target="at most 0.25, and ahead of every other search at every mark",
        ok=not behind and max(ratios.values()) <= 0.25,
        peers={
            search: {name: mean[search, name].round(4).tolist() for name in names}
            for search in SEARCHES
        },
        details={
            "seeds": options.seeds,
            "marks": MARKS,
            "ratios_to_tpe_at_100": ratios,
            "not_ahead": behind,
            "nano_genomes_recorded": nano_fitness().genomes if "nano" in names else None,
        },
        keep=not options.no_keep,
    )


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s")
