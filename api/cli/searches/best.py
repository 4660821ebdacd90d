"""The fitness of a search's best block, as the command line writes it."""

from __future__ import annotations

from typing import Any

from brainformer.api.cli.terminal.output import number


def best_fitness(record: dict[str, Any]) -> str:
    """Returns the mean of the fresh runs with its deviation, or the single run as such."""
    value, runs = record["best_fitness"], record["best_repeats"]
    if value is None:
        return "-"
    if not runs:
        return f"{number(value)} (single run)"
    spread = "" if record["best_deviation"] is None else f" ± {number(record['best_deviation'])}"
    return f"{number(value)}{spread} ({runs} run{'' if runs == 1 else 's'})"
