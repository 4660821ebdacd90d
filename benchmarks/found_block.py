"""A found block against the rival that its search had, with fresh paired seeds, at a longer budget.

Takes an exported block, which names its rival. The step times of the search fix the steps of both
at the longer budget, so that a neighbour on the machine lengthens a run and changes no loss. The
rival is not tuned again for that budget.

    python -m benchmarks.found_block [demo/best-block.json] [--multiple 6] [--dataset NAME]
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from scipy.stats import t as student

from benchmarks.one_core_trials import Run, restart_as_trial, train_all
from benchmarks.report import report
from brainformer.search.errors import InvalidInput
from brainformer.search.estimates.comparison import mean, paired_p_value, standard_deviation
from brainformer.search.export.genome_file import GenomeExport, read_export
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome, parse_genome

FIRST_SEED = 101  # no search's own
WANTED = 0.01


def main() -> None:
    options = _options()
    restart_as_trial("benchmarks.found_block")
    export = read_export(options.block)
    blocks = {"rival": _rival(export), "found": (export.genome, export.measurements.step_time_ms)}
    budget = options.multiple * export.proxy.budget_seconds
    proxy = export.proxy.trained_on(options.dataset or export.proxy.dataset).model_copy(
        update={"budget_seconds": budget, "clock": "calibrated"}
    )
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    runs = [
        Run(genome, proxy, seed, round(1000 * budget / step_time))
        for seed in seeds
        for genome, step_time in blocks.values()
        if step_time is not None
    ]
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    losses = [one.measurements.validation_loss for one in train_all(runs, cores=cores)]
    judge(losses[0::2], losses[1::2], export, proxy, keep=not options.no_keep)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    block = Path("demo") / "best-block.json"
    parser.add_argument("block", type=Path, nargs="?", default=block, help="an exported block")
    parser.add_argument("--multiple", type=float, default=6.0, help="of its search's budget")
    parser.add_argument("--dataset", help="another than the search's, for instance prepared text")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _rival(export: GenomeExport) -> tuple[Genome, float]:
    baseline = export.baseline or {}
    if not baseline.get("rival") or not baseline.get("step_time_ms"):
        raise InvalidInput("the export names no rival; export from a search with a baseline family")
    return parse_genome(baseline["rival"]), float(baseline["step_time_ms"])


def judge(
    rival: list[float | None],
    found: list[float | None],
    export: GenomeExport,
    proxy: Proxy,
    *,
    keep: bool,
) -> None:
    """Prints and keeps what pairs of losses say; the k-th of each side share a seed."""
    pairs = list(zip(rival, found, strict=True))
    gains = [a - b for a, b in pairs if a is not None and b is not None]
    for theirs, ours in pairs:
        print(f"rival {theirs}  found {ours}")
    spread, count = standard_deviation(gains), len(gains)
    half = None
    if spread is not None:
        half = float(student.ppf(0.975, count - 1)) * spread / math.sqrt(count)
    probability = paired_p_value(found, rival)
    multiple = proxy.budget_seconds / export.proxy.budget_seconds
    report(
        name="found-block",
        value=round(mean(gains), 4),
        unit=f"nats a token better than the rival at {multiple:g} times the budget",
        target=f"above 0 with p < {WANTED}, one-sided, paired",
        ok=probability is not None and probability < WANTED,
        details={
            "interval": None if half is None else [mean(gains) - half, mean(gains) + half],
            "p": probability,
            "found": found,
            "rival": rival,
            "genome": export.genome.canonical(),
            "trial": export.trial_number,
            "budget_seconds": proxy.budget_seconds,
            "dataset": proxy.dataset,
        },
        keep=keep,
    )


if __name__ == "__main__":
    main()
