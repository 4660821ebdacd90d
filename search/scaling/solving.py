"""A block at a target: its widths multiplied, and the number of blocks solved from the target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from brainformer.search.cost.cost import activated_parameters
from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome, InvalidSpec
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.scaling.target import Target
from brainformer.search.scaling.widths import ScaleModelDim, friendly
from brainformer.search.space.genome import MAX_WIDTH, Genome

MAX_BLOCKS = 256
MOST_MISSED = 0.05  # of the target; beyond, it is refused
# A miss of 5% weighs as much as a third more or less of the aspect ratio.
MISS_WEIGHT = 6.0
# Bases of compound scaling (arXiv:1905.11946): depth x width^2 is about 2.
DEPTH_BASE, WIDTH_BASE = 1.2, 1.29
# How fine the multiples of widths are; the next where the one before misses the target, as it may
# with the few blocks of a small model.
FINENESS = (8, 16, 32)
COMPOUND_STEP, MOST_COMPOUND = 0.02, 40.0


@dataclass(frozen=True)
class Scaled:
    """A block at a target.

    Attributes:
        activated: Parameters that a token meets, embeddings apart.
        missed: What that is above or, negative, below the target, as a share of it.
    """

    genome: Genome
    proxy: Proxy
    activated: int
    missed: float

    @property
    def aspect_ratio(self) -> float:
        """The model dim over the number of pairs of sub-layers."""
        return aspect_ratio(self.genome, self.proxy.blocks)

    def __str__(self) -> str:
        side = "above" if self.missed > 0 else "below"
        return (
            f"d={self.genome.model_dim}, {self.proxy.blocks} blocks of {len(self.genome.layers)} "
            f"sub-layers, {count(self.activated)} activated parameters, {abs(self.missed):.1%} "
            f"{side} the target"
        )


def aspect_ratio(genome: Genome, blocks: int) -> float:
    """Returns the model dim over the number of pairs of sub-layers: a transformer's width a layer.

    Table 2 of arXiv:2306.00008 goes from 64 at 100M to 128 at 8B.
    """
    return aspect_ratio_at(genome.model_dim, genome, blocks)


def scaled_to(genome: Genome, proxy: Proxy, target: Target) -> Scaled:
    """Returns the block wider and stacked, so that it comes near the target in a usual shape.

    Among the widths whose aspect ratio lies within the target's bounds the one is taken that is
    near the middle of these bounds and misses little of the target.

    Args:
        genome: The block as it was found.
        proxy: What it was found under.
        target: What is wanted.

    Raises:
        InvalidSpec: nothing within the bounds comes within 5% of the target; says what is nearest.
        InvalidGenome: what comes nearest cannot be trained in the target's batch.
    """
    within, beside = _best(genome, proxy, target)
    found = within or beside
    if found is None:
        low, high = target.aspect_ratio
        raise InvalidSpec(
            f"{_wanted(target)} cannot be reached with an aspect ratio (model dim over pairs of "
            f"sub-layers) of {low:g} to {high:g}; allow another aspect_ratio or ask for another "
            "size",
            target.parameters,
            "/parameters",
        )
    if abs(found.missed) > MOST_MISSED:
        raise InvalidSpec(
            f"nothing comes within {MOST_MISSED:.0%} of {_wanted(target)}; nearest is {found}: "
            f"ask for {count(found.activated)}, or for another width or aspect ratio",
            target.parameters,
            "/parameters",
        )
    check_trainable(found.genome, found.proxy)
    return found


def _best(genome: Genome, proxy: Proxy, target: Target) -> tuple[Scaled | None, Scaled | None]:
    """Returns the best shape that comes near the target, and the one that comes nearest to it."""
    nearest: Scaled | None = None
    for steps in FINENESS:
        within: Scaled | None = None
        for one in _shapes(genome, proxy, target, steps):
            if nearest is None or abs(one.missed) < abs(nearest.missed):
                nearest = one
            near = abs(one.missed) <= MOST_MISSED
            if near and (within is None or _oddness(one, target) < _oddness(within, target)):
                within = one
        if within is not None:
            return within, nearest
    return None, nearest


def _oddness(scaled: Scaled, target: Target) -> float:
    missed = MISS_WEIGHT * abs(scaled.missed)
    if target.method == "compound":
        return missed
    low, high = target.aspect_ratio
    return abs(math.log(scaled.aspect_ratio / math.sqrt(low * high))) + missed


def _shapes(genome: Genome, proxy: Proxy, target: Target, steps: int) -> Iterator[Scaled]:
    if target.method == "compound":
        yield from _compound(genome, proxy, target, steps)
        return
    low, high = target.aspect_ratio
    for dim in [target.model_dim] if target.model_dim else _dims(steps):
        # The shallowest model of this width is one block, the deepest the most that are allowed.
        if (
            not low <= aspect_ratio_at(dim, genome, 1)
            or aspect_ratio_at(dim, genome, MAX_BLOCKS) > high
        ):
            continue
        try:
            wide = _wider(genome, proxy, target, dim / genome.model_dim, steps)
        except InvalidGenome:
            continue
        if target.model_dim is not None:
            wide = wide.model_copy(update={"model_dim": target.model_dim})
        blocks = _solved_blocks(wide, proxy, target)
        if blocks <= MAX_BLOCKS and low <= aspect_ratio(wide, blocks) <= high:
            yield _scaled(wide, proxy, target, blocks)


def aspect_ratio_at(dim: int, genome: Genome, blocks: int) -> float:
    """Returns the aspect ratio of the block at another model dim."""
    return 2.0 * dim / (blocks * len(genome.layers))


def _dims(steps: int) -> Iterator[int]:
    """Yields the usual model dims, narrow ones first."""
    dim = 8
    while dim <= MAX_WIDTH:
        yield dim
        step = 1
        while friendly(dim + step, steps=steps) <= dim:
            step += 1
        dim = friendly(dim + step, steps=steps)


def _compound(genome: Genome, proxy: Proxy, target: Target, steps: int) -> Iterator[Scaled]:
    most = round(MOST_COMPOUND / COMPOUND_STEP)
    for step in range(-most, most + 1):
        coefficient = step * COMPOUND_STEP
        blocks = round(proxy.blocks * DEPTH_BASE**coefficient)
        if not 1 <= blocks <= MAX_BLOCKS:
            continue
        try:
            wide = _wider(genome, proxy, target, WIDTH_BASE**coefficient, steps)
        except InvalidGenome:
            continue
        yield _scaled(wide, proxy, target, blocks)


def _wider(genome: Genome, proxy: Proxy, target: Target, factor: float, steps: int) -> Genome:
    return ScaleModelDim(factor, target.head_dim / proxy.head_dim, steps)(genome)


def _solved_blocks(genome: Genome, proxy: Proxy, target: Target) -> int:
    one = activated_parameters(genome, target.proxy(proxy, genome.model_dim, 1))
    two = activated_parameters(genome, target.proxy(proxy, genome.model_dim, 2))
    per_block = two - one
    return max(1, round((target.parameters - (one - per_block)) / per_block))


def _scaled(genome: Genome, proxy: Proxy, target: Target, blocks: int) -> Scaled:
    at_target = target.proxy(proxy, genome.model_dim, blocks)
    activated = activated_parameters(genome, at_target)
    return Scaled(genome, at_target, activated, activated / target.parameters - 1)


def _wanted(target: Target) -> str:
    width = "" if target.model_dim is None else f" at d={target.model_dim}"
    return f"{count(target.parameters)} activated parameters{width}"


def count(parameters: int) -> str:
    """Returns a number of parameters in words: 156M, 1.81B."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= size:
            return f"{parameters / size:.3g}{letter}"
    return str(parameters)
