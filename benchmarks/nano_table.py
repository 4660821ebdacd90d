"""The open table: 500 nano genomes, two seeds, with their learning curves.

Trains what benchmarks/objectives/nano_table.jsonl lacks, genome by genome, until all are there or
the time is over; run it again to go on. Half of the genomes are drawn from the space, half are
mutants of blocks that are known to be good (benchmarks/objectives/nano_blocks.json), so that the
table tells the best from the good as well as the good from the rest. Wants a quiet machine: a
trial that had to share its core is trained again another time.

    python -m benchmarks.nano_table [--minutes 200] [--genomes 500]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.one_core_trials import Run, Trained, restart_as_trial, train_with_curves
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
MOST_CONTENTION = 2.0


def main() -> None:
    options = _options()
    restart_as_trial("benchmarks.nano_table")
    proxy, cores = load_proxy("nano"), sorted(os.sched_getaffinity(0))[: options.cores]
    until = time.monotonic() + 60 * options.minutes
    kept = {(one["digest"], one["seed"]) for one in kept_trials()}
    missing = [
        Run(genome, proxy, seed)
        for genome in genomes(options.genomes)
        for seed in SEEDS
        if (genome.digest, seed) not in kept
    ]
    print(f"{len(kept)} trials are there, {len(missing)} are missing", flush=True)
    for run, trained in zip(missing, train_with_curves(missing, cores=cores), strict=True):
        _keep(run, trained)
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


def _keep(run: Run, trained: Trained) -> None:
    measured = trained.result.measurements
    if measured.contention is not None and measured.contention > MOST_CONTENTION:
        print(f"not kept: the machine was busy ({measured.contention:.2f})", flush=True)
        return
    line = {
        "digest": run.genome.digest,
        "seed": run.seed,
        "outcome": trained.result.outcome,
        "loss": measured.validation_loss,
        "steps": measured.steps,
        "step_time_ms": measured.step_time_ms,
        "contention": measured.contention,
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
