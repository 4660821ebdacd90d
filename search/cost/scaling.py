"""Scaling a block that was found small: wider, deeper, or both.

Section 3.4 of arXiv:2306.00008: the best blocks' model dim and hidden dims are multiplied by 2
and 4, and the block is stacked N times, N solved from the activated parameters wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

from brainformer.search.cost.cost import activated_parameters
from brainformer.search.errors import InvalidGenome, InvalidSpec
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import (
    MAX_WIDTH,
    Attention,
    FeedForward,
    Genome,
    Layer,
    MoE,
)

MAX_BLOCKS = 256
MAX_HEADS = 1024


@dataclass(frozen=True)
class ScaleModelDim:
    """Multiplies the model dim, hidden dims, ranks and heads; the head dim stays.

    The paper's text names model dim and hidden dims; its Table 2 keeps heads x head dim equal to
    the model dim at every scale, so heads grow along.

    Attributes:
        factor: 2 and 4 in the paper.
    """

    factor: float

    def __call__(self, genome: Genome) -> Genome:
        """Returns the wider block.

        Raises:
            InvalidGenome: the factor is not positive, or a width leaves its range.
        """
        if not self.factor > 0:
            raise InvalidGenome("a scaling factor must be above 0", self.factor)
        dim = self._scaled(genome.model_dim, MAX_WIDTH, "/model_dim")
        layers = tuple(
            self._scaled_layer(layer, dim, f"/layers/{index}")
            for index, layer in enumerate(genome.layers)
        )
        return Genome(model_dim=dim, layers=layers)

    def _scaled_layer(self, layer: Layer, dim: int, pointer: str) -> Layer:
        if isinstance(layer, Attention):
            heads = self._scaled(layer.heads, MAX_HEADS, f"{pointer}/heads")
            return layer.model_copy(update={"heads": heads})
        hidden = self._scaled(layer.hidden_dim, MAX_WIDTH, f"{pointer}/hidden_dim")
        changes = {"hidden_dim": hidden}
        if isinstance(layer, FeedForward) and layer.rank:
            rank = self._scaled(layer.rank, MAX_WIDTH, f"{pointer}/rank")
            changes["rank"] = min(rank, dim, hidden)
        widened: FeedForward | MoE = layer.model_copy(update=changes)
        return widened

    def _scaled(self, width: int, limit: int, pointer: str) -> int:
        scaled = max(1, round(width * self.factor))
        if scaled > limit:
            rule = f"scaled by {self.factor:g} this must be at most {limit}"
            raise InvalidGenome(rule, scaled, pointer)
        return scaled


@dataclass(frozen=True)
class StackNTimes:
    """Stacks the block as often as the activated parameters wanted ask for.

    Attributes:
        target_parameters: Activated, embeddings apart, as in Table 2.
    """

    target_parameters: int

    def __call__(self, genome: Genome, proxy: Proxy) -> Proxy:
        """Returns the proxy whose number of blocks comes nearest to the target; at least one.

        Raises:
            InvalidSpec: the target is not positive, or needs more blocks than are allowed.
        """
        if self.target_parameters < 1:
            raise InvalidSpec("target_parameters must be at least 1", self.target_parameters)
        one = activated_parameters(genome, proxy.model_copy(update={"blocks": 1}))
        two = activated_parameters(genome, proxy.model_copy(update={"blocks": 2}))
        per_block = two - one
        blocks = max(1, round((self.target_parameters - (one - per_block)) / per_block))
        if blocks > MAX_BLOCKS:
            rule = (
                f"the target needs {blocks} blocks, at most {MAX_BLOCKS} are allowed; scale wider"
            )
            raise InvalidSpec(rule, self.target_parameters, "/blocks")
        return proxy.model_copy(update={"blocks": blocks})


@dataclass(frozen=True)
class CompoundScale:
    """Deepens and widens together by powers of one coefficient (EfficientNet, arXiv:1905.11946).

    Attributes:
        coefficient: How much more compute: about 2 to this power with the default bases.
        depth: Base of the number of blocks.
        width: Base of the widths; depth x width**2 is about 2.
    """

    coefficient: float
    depth: float = 1.2
    width: float = 1.29

    def __call__(self, genome: Genome, proxy: Proxy) -> tuple[Genome, Proxy]:
        """Returns the wider block and the deeper proxy.

        Raises:
            InvalidGenome: a width leaves its range.
            InvalidSpec: the number of blocks does.
        """
        wider = ScaleModelDim(self.width**self.coefficient)(genome)
        blocks = max(1, round(proxy.blocks * self.depth**self.coefficient))
        if blocks > MAX_BLOCKS:
            raise InvalidSpec(f"blocks must be at most {MAX_BLOCKS}", blocks, "/blocks")
        return wider, proxy.model_copy(update={"blocks": blocks})
