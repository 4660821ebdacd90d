"""The fitness of a search's best block, as the command line writes it."""

from __future__ import annotations

from typing import Any

from brainformer.api.cli.terminal.output import number
from brainformer.search.counted import counted


def best_fitness(record: dict[str, Any]) -> str:
    """Returns the best fitness that a search's record tells."""
    return fitness_of(record["best_fitness"], record["best_deviation"], record["best_repeats"])


def fitness_of(value: float | None, deviation: float | None, runs: int) -> str:
    """Returns the mean of the fresh runs with its deviation, or the single run as such."""
    if value is None:
        return "-"
    if not runs:
        return f"{number(value)} (single run)"
    spread = "" if deviation is None else f" ± {number(deviation)}"
    return f"{number(value)}{spread} ({counted(runs, 'run')})"
