"""Wider blocks: model dim, hidden dims, ranks and heads multiplied, in multiples that devices like.

Section 3.4 of arXiv:2306.00008 multiplies the best blocks' model dim and hidden dims by 2 and 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from brainformer.search.errors import InvalidGenome
from brainformer.search.space.genome import MAX_WIDTH, Attention, FeedForward, Genome, Layer, MoE

MAX_HEADS = 1024
LARGEST_STEP = 128  # the width of a TPU's matrix unit, and of a GPU's larger tiles
STEPS_PER_WIDTH = 8  # so a width departs from its factor by a sixteenth at most
STEPS_PER_HEADS, LARGEST_STEP_OF_HEADS = 2, 8  # so that a mesh's model axis divides them


def friendly(
    width: float, *, steps: int = STEPS_PER_WIDTH, largest_step: int = LARGEST_STEP
) -> int:
    """Returns the nearest multiple of the largest power of two that is not coarse for a width.

    The power is at most 128, and at most `width / steps`: 768 is a multiple of 64, 2048 of 128, and
    a model dim of 24 may be any even number.
    """
    step = 1 << max(0, math.floor(math.log2(max(1.0, width / steps))))
    step = min(step, largest_step)
    return max(1, round(width / step) * step)


@dataclass(frozen=True)
class ScaleModelDim:
    """Multiplies the model dim, hidden dims, ranks and heads.

    The paper's text names model dim and hidden dims; its Table 2 keeps heads x head dim equal to
    the model dim at every scale, so heads grow along.

    Attributes:
        factor: 2 and 4 in the paper.
        head_growth: By how much the head dim grows beside; heads are divided by it.
        steps: How fine the multiples are that widths are rounded to; see `friendly`.
    """

    factor: float
    head_growth: float = 1.0
    steps: int = STEPS_PER_WIDTH

    def __call__(self, genome: Genome) -> Genome:
        """Returns the wider block.

        Raises:
            InvalidGenome: the factor is not positive, or a width leaves its range.
        """
        if not self.factor > 0 or not self.head_growth > 0:
            raise InvalidGenome("a scaling factor must be above 0", self.factor)
        dim = self._width(genome.model_dim, "/model_dim")
        layers = tuple(
            self._layer(layer, dim, f"/layers/{index}") for index, layer in enumerate(genome.layers)
        )
        return Genome(model_dim=dim, layers=layers)

    def _layer(self, layer: Layer, dim: int, pointer: str) -> Layer:
        if isinstance(layer, Attention):
            heads = self._heads(layer.heads, f"{pointer}/heads")
            return layer.model_copy(update={"heads": heads})
        hidden = self._width(layer.hidden_dim, f"{pointer}/hidden_dim")
        changes = {"hidden_dim": hidden}
        if isinstance(layer, FeedForward) and layer.rank:
            rank = self._width(layer.rank, f"{pointer}/rank")
            changes["rank"] = min(rank, dim, hidden)
        widened: FeedForward | MoE = layer.model_copy(update=changes)
        return widened

    def _width(self, width: int, pointer: str) -> int:
        if self.factor == 1:
            return width
        wanted = self._bounded(width * self.factor, MAX_WIDTH, pointer)
        return min(MAX_WIDTH, friendly(wanted, steps=self.steps))

    def _heads(self, heads: int, pointer: str) -> int:
        growth = self.factor / self.head_growth
        if growth == 1:
            return heads
        wanted = self._bounded(heads * growth, MAX_HEADS, pointer)
        return min(
            MAX_HEADS, friendly(wanted, steps=STEPS_PER_HEADS, largest_step=LARGEST_STEP_OF_HEADS)
        )

    def _bounded(self, wanted: float, limit: int, pointer: str) -> float:
        if wanted > limit:
            rule = f"scaled by {self.factor:g} this must be at most {limit}"
            raise InvalidGenome(rule, round(wanted), pointer)
        return wanted
