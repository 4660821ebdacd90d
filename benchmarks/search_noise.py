"""How much of a search's fitness is noise: repeats of one block against different blocks.

Reads what a finished search has evaluated. Noise is the standard deviation over seeds, pooled over
every block with several runs: the rival, and the finalists. It is compared with the standard
deviation among random feasible blocks, the first candidates, and with that among the population
after 40 candidates, one run each.

    brainformer export SEARCH --format trials -o trials.jsonl
    python -m benchmarks.search_noise trials.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.report import report
from brainformer.search.estimates.comparison import mean, standard_deviation

CANDIDATES = 40
MOST_AMONG_RANDOM = 0.2
MOST_AMONG_POPULATION = 0.5


def main() -> None:
    options = _options()
    search, *trials = (json.loads(line) for line in options.trials.read_text("utf-8").splitlines())
    ended = [one for one in trials if one["measurements"].get("validation_loss") is not None]
    noise, runs = pooled_deviation(_repeats(ended))
    candidates = sorted(
        (one for one in ended if one["kind"] == "candidate"), key=lambda one: int(one["number"])
    )
    random = [_loss(one) for one in candidates if one["origin"] == "random"]
    size = search["spec"]["population_size"]
    population = [_loss(one) for one in candidates[:CANDIDATES][-size:]]
    among_random, among_population = standard_deviation(random), standard_deviation(population)
    assert among_random
    assert among_population
    ratios = noise / among_random, noise / among_population
    report(
        name="search-noise",
        value=round(ratios[0], 4),
        unit="deviation over seeds against that among random feasible blocks",
        target=f"at most {MOST_AMONG_RANDOM}; against the population after {CANDIDATES} candidates "
        f"at most {MOST_AMONG_POPULATION}",
        ok=ratios[0] <= MOST_AMONG_RANDOM and ratios[1] <= MOST_AMONG_POPULATION,
        details={
            "noise": noise,
            "repeated_runs": runs,
            "among_random": among_random,
            "random_blocks": len(random),
            "among_population": among_population,
            "population": len(population),
            "against_population": ratios[1],
            "space": search["spec"]["space"],
            "budget_seconds": search["spec"]["proxy"]["budget_seconds"],
        },
        keep=not options.no_keep,
    )


def _repeats(trials: list[dict[str, Any]]) -> list[list[float]]:
    """Returns the losses of the fresh runs of each block; what chose it is none of them."""
    runs: dict[str, list[float]] = defaultdict(list)
    for one in trials:
        if one["repeat"] is not None:
            runs[one["digest"]].append(_loss(one))
    return [losses for losses in runs.values() if len(losses) > 1]


def pooled_deviation(groups: list[list[float]]) -> tuple[float, int]:
    """Returns the standard deviation within groups, and how many values there are."""
    squares = sum((value - mean(group)) ** 2 for group in groups for value in group)
    count = sum(map(len, groups))
    return math.sqrt(squares / (count - len(groups))), count


def _loss(trial: dict[str, Any]) -> float:
    return float(trial["measurements"]["validation_loss"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=Path, help="all that a search evaluated")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
