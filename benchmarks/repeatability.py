"""Repeatability of fitness: random nano genomes, quiet first, then beside a processor hog.

Each genome is trained twice with different seeds, one trial on every core, as a dispatcher does.
The second time, a busy process shares each core with the trial. What is compared is the validation
loss that a search would have recorded.

    python -m benchmarks.repeatability [--genomes 20] [--budget 10]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.one_core_trials import Run, restart_as_trial, train_all
from benchmarks.report import report
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset
from brainformer.search.trials.lease_messages import Result

TRIALS = Path(__file__).parent / "objectives" / "nano_trials.jsonl"
GENOME_SEED = 2306_00008


def main() -> None:
    options = _options()
    restart_as_trial("benchmarks.repeatability")
    proxy = load_proxy("nano").model_copy(
        update={"budget_seconds": options.budget, "clock": "calibrated"}
    )
    genomes = _genomes(options.genomes)
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    quiet = _train_all(genomes, proxy, seed=1, cores=cores)
    with _hogs(cores):
        hogged = _train_all(genomes, proxy, seed=2, cores=cores)
    _judge(genomes, quiet, hogged, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genomes", type=int, default=20)
    parser.add_argument("--budget", type=float, default=load_proxy("nano").budget_seconds)
    parser.add_argument("--cores", type=int, default=2, help="trials side by side")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    parser.add_argument(
        "--keep-trials",
        action="store_true",
        help="add the trials to those that the nano fitness is fitted on, which changes it",
    )
    return parser.parse_args()


def _genomes(count: int) -> list[Genome]:
    space = load_preset("nano")
    return [space.sample(rng=np.random.default_rng([GENOME_SEED, i])) for i in range(count)]


def _train_all(genomes: list[Genome], proxy: Proxy, *, seed: int, cores: list[int]) -> list[Result]:
    return list(train_all([Run(genome, proxy, seed) for genome in genomes], cores=cores))


@contextmanager
def _hogs(cores: list[int]) -> Iterator[None]:
    """Runs a busy process on each of the trials' cores."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_spin, args=(core,), daemon=True) for core in cores]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _spin(core: int) -> None:
    os.sched_setaffinity(0, {core})
    while True:
        pass


def _judge(
    genomes: list[Genome], quiet: list[Result], hogged: list[Result], options: argparse.Namespace
) -> None:
    pairs = np.array(
        [
            (a.measurements.validation_loss, b.measurements.validation_loss)
            for a, b in zip(quiet, hogged, strict=True)
            if a.outcome == b.outcome == "completed"
        ]
    )
    between = float(np.std(pairs.mean(axis=1), ddof=1))
    within = float(np.sqrt(np.mean((pairs[:, 0] - pairs[:, 1]) ** 2) / 2))
    rho = spearman(pairs[:, 0], pairs[:, 1])
    ratio = between / within if within else float("inf")
    steps = [
        (a.measurements.steps, b.measurements.steps) for a, b in zip(quiet, hogged, strict=True)
    ]
    drift = [b / a - 1 for a, b in steps if a and b]
    contention = [r.measurements.contention for r in hogged if r.measurements.contention]
    print(f"Spearman {rho:.3f}; spread between genomes {between:.4f} nats, of repeats {within:.4f}")
    report(
        name="repeatability",
        value=round(rho, 4),
        unit="Spearman correlation, quiet against hogged",
        target="at least 0.9, and spread between genomes at least 4 times that of repeats",
        ok=bool(rho >= 0.9 and ratio >= 4),
        details={
            "genomes": len(pairs),
            "failed": len(genomes) - len(pairs),
            "budget_seconds": options.budget,
            "trials_side_by_side": options.cores,
            "spread_between_genomes": between,
            "spread_of_repeats": within,
            "spread_ratio": ratio,
            "steps_changed_by_hog_mean": float(np.mean(drift)),
            "steps_changed_by_hog_worst": float(np.max(np.abs(drift))),
            "contention_under_hog": float(np.mean(contention)),
        },
        keep=not options.no_keep,
    )
    if options.keep_trials:
        _keep_trials(genomes, [(1, quiet), (2, hogged)])


def _keep_trials(genomes: list[Genome], runs: list[tuple[int, list[Result]]]) -> None:
    TRIALS.parent.mkdir(exist_ok=True)
    with TRIALS.open("a", encoding="utf-8") as file:
        for seed, results in runs:
            for genome, result in zip(genomes, results, strict=True):
                row = {
                    "genome": genome.canonical(),
                    "validation_loss": result.measurements.validation_loss,
                    "step_time_ms": result.measurements.step_time_ms,
                    "seed": seed,
                }
                file.write(json.dumps(row) + "\n")


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the rank correlation of two lists without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
