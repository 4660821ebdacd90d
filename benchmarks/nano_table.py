"""The open table: 500 nano genomes, two seeds, with their learning curves.

Trains what benchmarks/objectives/nano_table.jsonl lacks, genome by genome, until all are there or
the time is over; run it again to go on. Half of the genomes are drawn from the space, half are
mutants of blocks that are known to be good (benchmarks/objectives/nano_blocks.json), so that the
table tells the best from the good as well as the good from the rest.

A short trial measures a genome's step time, which fixes the steps of both its runs: those that the
proxy's budget allows. So a neighbour on the machine lengthens a run and changes no loss, and every
line can be trained again: the same genome, seed and number of steps, the same loss.

    python -m benchmarks.nano_table [--minutes 200] [--genomes 500]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.one_core_trials import (
    Run,
    Trained,
    restart_as_trial,
    train_all,
    train_with_curves,
)
from brainformer.search.cost.runnable import runnable_genome
from brainformer.search.errors import InvalidGenome
from brainformer.search.evolution.mutation import mutate
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.space.space import Space, load_preset

OBJECTIVES = Path(__file__).parent / "objectives"
BLOCKS, TABLE = OBJECTIVES / "nano_blocks.json", OBJECTIVES / "nano_table.jsonl"
GENOME_SEED = 2306_19
SEEDS = (1, 2)
GOOD = 12  # of the blocks, whose best come first
MOST_MUTATIONS = 4
SHORT = 0.1  # of the budget, for a step time
AT_ONCE = 24  # genomes


def main() -> None:
    options = _options()
    restart_as_trial("benchmarks.nano_table")
    proxy, cores = load_proxy("nano"), sorted(os.sched_getaffinity(0))[: options.cores]
    until = time.monotonic() + 60 * options.minutes
    kept = {(one["digest"], one["seed"]) for one in kept_trials()}
    wanted = genomes(options.genomes)
    missing = [one for one in wanted if not all((one.digest, seed) in kept for seed in SEEDS)]
    print(f"{len(kept)} trials are there, {len(missing)} genomes are missing", flush=True)
    for first in range(0, len(missing), AT_ONCE):
        train(missing[first : first + AT_ONCE], proxy, cores, until=until)


def train(some: Sequence[Genome], proxy: Proxy, cores: Sequence[int], *, until: float) -> None:
    """Trains and keeps what the genomes lack, of as many steps as the genome's first line says."""
    if time.monotonic() > until:
        return
    lines = kept_trials()
    kept = {(one["digest"], one["seed"]) for one in lines}
    times = {one["digest"]: one["step_time_ms"] for one in lines}
    clock = {"budget_seconds": SHORT * proxy.budget_seconds, "clock": "calibrated"}
    short_proxy = proxy.model_copy(update=clock)
    runs = [Run(one, short_proxy, 0) for one in some if one.digest not in times]
    for run, short in zip(runs, train_all(runs, cores=cores), strict=True):
        times[run.genome.digest] = short.measurements.step_time_ms
    lacking = [
        Run(one, proxy, seed, round(1000 * proxy.budget_seconds / times[one.digest]))
        for one in some
        for seed in SEEDS
        if times[one.digest] and (one.digest, seed) not in kept
    ]
    for run, trained in zip(lacking, train_with_curves(lacking, cores=cores), strict=True):
        _keep(run, trained, times[run.genome.digest])
        if time.monotonic() > until:
            break  # what is being trained is given up


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=200, help="after which it ends")
    parser.add_argument("--genomes", type=int, default=500)
    parser.add_argument("--cores", type=int, default=2, help="trials side by side")
    return parser.parse_args()


def genomes(count: int) -> list[Genome]:
    """Returns the table's first genomes: in turns one of the space and a mutant of a good one."""
    space, proxy = load_preset("nano"), load_proxy("nano")
    good = list(_runnable(_blocks()[:GOOD], space, proxy))
    found: dict[str, Genome] = {}
    for index in range(20 * count):
        rng = np.random.default_rng([GENOME_SEED, index])
        drawn = space.sample(rng=rng) if index % 2 else _mutant(good, space, rng=rng)
        found |= {genome.digest: genome for genome in _runnable([drawn], space, proxy)}
        if len(found) == count:
            break
    return list(found.values())


def _blocks() -> list[Genome]:
    return [parse_genome(one) for one in json.loads(BLOCKS.read_text("utf-8"))]


def _mutant(good: list[Genome], space: Space, *, rng: np.random.Generator) -> Genome:
    genome = good[int(rng.integers(len(good)))]
    for _ in range(int(rng.integers(1, MOST_MUTATIONS + 1))):
        mutation = mutate(genome, space, rng=rng)
        genome = genome if mutation is None else mutation.genome
    return genome


def _runnable(some: Iterable[Genome], space: Space, proxy: Proxy) -> Iterator[Genome]:
    for genome in some:
        try:
            yield runnable_genome(genome, space, proxy)
        except InvalidGenome:
            continue


def kept_trials() -> list[dict[str, Any]]:
    """Returns the trials that are there, one dictionary each."""
    if not TABLE.exists():
        return []
    return [json.loads(line) for line in TABLE.read_text("utf-8").splitlines()]


def _keep(run: Run, trained: Trained, step_time_ms: float) -> None:
    measured = trained.result.measurements
    line = {
        "digest": run.genome.digest,
        "seed": run.seed,
        "outcome": trained.result.outcome,
        "loss": measured.validation_loss,
        "steps": run.steps,
        "step_time_ms": step_time_ms,
        "curve": [
            [point.step, round(point.validation_loss, 4)]
            for point in trained.curve
            if point.validation_loss is not None
        ],
        "genome": run.genome.canonical(),
    }
    with TABLE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
