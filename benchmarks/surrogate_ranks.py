"""How well the surrogate ranks nano genomes that it has not seen, the better ones above all.

Of the open table (benchmarks/nano_table.py) a quarter of the genomes is held out, at random and
many times over; the surrogate sees the others' losses, at most as many as in a search, and orders
the quarter by its mean. Told are the rank correlation over the quarter, over its better fourth, and
how much of that fourth is in the fourth that the surrogate puts first; chance has 0, 0 and 0.25.

    python -m benchmarks.surrogate_ranks [--splits 100]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from benchmarks.nano_table import kept_trials
from benchmarks.repeatability import spearman
from benchmarks.report import report
from brainformer.search.space.coded_genome import GenomeCoder
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.space.space import load_preset
from brainformer.search.surrogate.screening import WINDOW, Surrogate
from brainformer.search.trials.history import Observation

FEWEST = 64  # genomes; a fourth of a quarter is four then


class Ranks(NamedTuple):
    """Of one split.

    Attributes:
        overall: Spearman's rank correlation over all that was held out.
        top: The same over the better fourth of it.
        found: Share of the better fourth that the surrogate puts into its first fourth.
    """

    overall: float
    top: float
    found: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    options = parser.parse_args()
    table = genomes_with_losses()
    if len(table) < FEWEST:
        raise SystemExit(f"the table has {len(table)} genomes; make it with benchmarks.nano_table")
    splits = [ranks(table, split) for split in range(options.splits)]
    means = dict(zip(Ranks._fields, np.mean(splits, axis=0).round(3).tolist(), strict=True))
    deviations = np.std(splits, axis=0, ddof=1).round(3).tolist()
    print(means)
    report(
        name="surrogate-ranks",
        value=means["top"],
        unit="rank correlation within the better fourth of genomes that were held out",
        target="reported, no bar",
        ok=None,
        details={
            "genomes": len(table),
            "splits": options.splits,
            "means": means,
            "deviations_over_splits": dict(zip(Ranks._fields, deviations, strict=True)),
        },
        keep=not options.no_keep,
    )


def genomes_with_losses() -> list[tuple[Genome, float]]:
    """Returns the table's genomes, each with its mean over seeds; those that diverged left out."""
    losses: dict[str, list[float]] = defaultdict(list)
    genomes: dict[str, Genome] = {}
    for line in kept_trials():
        if line["loss"] is not None:
            losses[line["digest"]].append(line["loss"])
            genomes.setdefault(line["digest"], parse_genome(line["genome"]))
    return [(genome, float(np.mean(losses[digest]))) for digest, genome in genomes.items()]


def ranks(table: list[tuple[Genome, float]], split: int) -> Ranks:
    """Returns how the surrogate ranks a quarter that it has not seen."""
    rng = np.random.default_rng([2306, 19, split])
    order = rng.permutation(len(table))
    held = [table[index] for index in order[: len(table) // 4]]
    known = [table[index] for index in order[len(table) // 4 :]][:WINDOW]
    seen = [Observation(rank, rank, genome, -loss) for rank, (genome, loss) in enumerate(known)]
    coder = GenomeCoder(load_preset("nano"))
    look = Surrogate(coder).look(seen, noise=None, rng=rng)
    by_surrogate = look.see([coder.encode(genome) for genome, _ in held])
    place = np.argsort(by_surrogate)  # of each genome that was held out; 0 is the surrogate's first
    losses = np.array([loss for _, loss in held])
    best = np.argsort(losses)[: len(held) // 4]
    found = float(np.mean(place[best] < len(best)))
    return Ranks(spearman(place, losses), spearman(place[best], losses[best]), found)


if __name__ == "__main__":
    main()
