"""The least time that a step can take on a chip: a bound from peak rates, never a measurement."""

from __future__ import annotations

from dataclasses import dataclass

from brainformer.worker.targets.account import Account
from brainformer.worker.targets.hardware import Chip


@dataclass(frozen=True)
class Bound:
    """A lower bound of a step's time.

    Attributes:
        seconds: The largest of the parts.
        by: Which one that is.
        parts: Seconds of matrix products, of HBM and of the links between chips.
    """

    seconds: float
    by: str
    parts: dict[str, float]


def step_bound(chip: Chip, account: Account, useful_flops: float) -> Bound:
    """Returns the bound of a step.

    Args:
        chip: Its peak rates.
        account: The compiled step's, whose bytes count.
        useful_flops: Of one chip in a step; what is computed again is not useful.
    """
    moved = sum(one.megabytes for one in account.collectives.values()) * 1e6
    parts = {
        "matrix products": useful_flops / chip.flops_per_second,
        "memory": account.hbm_bytes / chip.bytes_per_second,
        "links": moved / chip.link_bytes_per_second,
    }
    by = max(parts, key=parts.__getitem__)
    return Bound(parts[by], by, parts)
