"""Accelerators by name: memory, peak rates, and the topologies of their slices.

Figures of TPUs are those of Google Cloud's pages for v5e, v5p and v6e (bfloat16, one chip). A
slice's name here counts chips, where Google's name of a v5p slice counts its two cores.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from brainformer.search.errors import InvalidInput

MOST_CHIPS = 256
TARGET = re.compile(r"(?:tpu-)?(v5e|v5p|v6e)-([0-9]{1,6})|gpu(?:-([0-9]{1,6}))?")


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

# Peak of dense bfloat16 products, FLOPs a second, by what the device calls itself.
DATA_SHEETS = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "TPU v6 lite": CHIPS["v6e"].flops_per_second,
    "TPU v5 lite": CHIPS["v5e"].flops_per_second,
    "TPU v5": CHIPS["v5p"].flops_per_second,
}


def data_sheet(device_kind: str) -> str | None:
    """Returns the first name of `DATA_SHEETS` that a device's own name contains, or None."""
    return next((name for name in DATA_SHEETS if name in device_kind), None)


@dataclass(frozen=True)
class Target:
    """A slice of TPU chips, or GPUs of this machine.

    Attributes:
        generation: `v5e`, `v5p` or `v6e`; `gpu`.
        chips: How many.
    """

    generation: str
    chips: int

    @property
    def platform(self) -> str:
        """`tpu` or `gpu`."""
        return "gpu" if self.generation == "gpu" else "tpu"

    @property
    def name(self) -> str:
        """As it is given on the command line."""
        prefix = "tpu-" if self.platform == "tpu" else ""
        return f"{prefix}{self.generation}-{self.chips}"

    @property
    def chip(self) -> Chip | None:
        """One of its chips; None for a GPU, which tells its memory itself."""
        return CHIPS.get(self.generation)

    @property
    def topology(self) -> str:
        """The smallest slice that has the chips, as libtpu names it: a host's at least."""
        sides = [1] * CHIPS[self.generation].dimensions
        while math.prod(sides) < max(4, self.chips):
            sides[sides.index(min(sides))] *= 2
        ordered = sorted(sides, key=lambda side: (side == 1, side))
        return f"{self.generation}:{'x'.join(map(str, ordered))}"


def parse_target(text: str) -> Target:
    """Returns the target that "tpu-v6e-8", "v6e-8", "gpu" or "gpu-8" names.

    Raises:
        InvalidInput: no such generation, or a number of chips that no slice has.
    """
    match = TARGET.fullmatch(text.strip().lower())
    if match is None:
        rule = (
            "a target is tpu-GENERATION-CHIPS, with v5e, v5p or v6e, or gpu-COUNT: tpu-v6e-8, gpu-1"
        )
        raise InvalidInput(rule, text)
    generation, chips = match[1] or "gpu", int(match[2] or match[3] or 1)
    if not 1 <= chips <= MOST_CHIPS or (generation != "gpu" and chips & (chips - 1)):
        rule = f"a TPU slice has 1, 2, 4, 8 ... {MOST_CHIPS} chips: choose one of these"
        if generation == "gpu":
            rule = f"a target has 1 to {MOST_CHIPS} GPUs"
        raise InvalidInput(rule, chips)
    return Target(generation, chips)
