"""What kind of change a mutation's phrase tells of, and which gene it touched."""

from __future__ import annotations

import re
from functools import lru_cache

# The phrases are those of `evolution/mutation.py`; a test holds the two together.
PHRASES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("change model dim", re.compile(r"^model dim .+ → .+$"), "model dim"),
    ("change kind", re.compile(r"^sub-layer \d+: (\w+) → (\w+)$"), r"\1 → \2"),
    ("insert", re.compile(r"^insert (\w+) at \d+$"), r"insert \1"),
    ("delete", re.compile(r"^delete (\w+) at \d+$"), r"delete \1"),
    ("swap", re.compile(r"^swap \d+ and \d+$"), "order"),
    ("change field", re.compile(r"^(\w+) \d+: (\w+) .+ → .+$"), r"\1 \2"),
)


@lru_cache(maxsize=65_536)
def change_told(phrase: str) -> tuple[str, str]:
    """Returns the kind of change and the gene; both are "other" for a phrase of another origin."""
    for operator, pattern, gene in PHRASES:
        found = pattern.match(phrase)
        if found:
            return operator, found.expand(gene).replace("_", " ")
    return "other", "other"
