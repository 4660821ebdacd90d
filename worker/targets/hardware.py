"""Accelerators by name: memory, peak rates, and the topologies of their slices.

Figures of TPUs are those of Google Cloud's pages for v5e, v5p and v6e (bfloat16, a chip); a slice's
name here counts chips, where Google's count of a v5p counts its two cores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from brainformer.search.errors import InvalidInput

MOST_CHIPS = 256
TARGET = re.compile(r"(?:tpu-)?(v5e|v5p|v6e)-([0-9]{1,4})")


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        memory_bytes: Of HBM.
        flops_per_second: Peak of bfloat16 matrix products.
        bytes_per_second: Peak of HBM.
        link_bytes_per_second: Of all links between chips of a slice, in one direction.
        dimensions: Of its slices' tori.
    """

    memory_bytes: int
    flops_per_second: float
    bytes_per_second: float
    link_bytes_per_second: float
    dimensions: int


CHIPS = {
    "v5e": Chip(16 * 2**30, 197e12, 819e9, 200e9, 2),
    "v5p": Chip(95 * 2**30, 459e12, 2765e9, 600e9, 3),
    "v6e": Chip(32 * 2**30, 918e12, 1640e9, 400e9, 2),
}


@dataclass(frozen=True)
class Target:
    """A slice of TPU chips.

    Attributes:
        generation: `v5e`, `v5p` or `v6e`.
        chips: How many.
    """

    generation: str
    chips: int

    @property
    def name(self) -> str:
        """As it is given on the command line."""
        return f"tpu-{self.generation}-{self.chips}"

    @property
    def chip(self) -> Chip:
        """One of its chips."""
        return CHIPS[self.generation]

    @property
    def topology(self) -> str:
        """The smallest slice that has the chips, as libtpu names it: a host's at least."""
        sides = [1] * self.chip.dimensions
        while _product(sides) < max(4, self.chips):
            sides[sides.index(min(sides))] *= 2
        ordered = sorted(sides, key=lambda side: (side == 1, side))
        return f"{self.generation}:{'x'.join(map(str, ordered))}"


def parse_target(text: str) -> Target:
    """Returns the target that "tpu-v6e-8" or "v6e-8" names.

    Raises:
        InvalidInput: no such generation, or a number of chips that no slice has.
    """
    match = TARGET.fullmatch(text.strip().lower())
    if match is None:
        rule = "a target is gpu or tpu-GENERATION-CHIPS with v5e, v5p or v6e: tpu-v6e-8"
        raise InvalidInput(rule, text)
    chips = int(match[2])
    if not 1 <= chips <= MOST_CHIPS or chips & (chips - 1):
        rule = f"a slice has a power of two of chips, 1 to {MOST_CHIPS}"
        raise InvalidInput(rule, chips)
    return Target(match[1], chips)


def _product(sides: list[int]) -> int:
    total = 1
    for side in sides:
        total *= side
    return total
