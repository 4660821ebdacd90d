"""Families of simple blocks: one block of the zoo at several depths and widths.

What a found block has to beat is the best of such a family, tuned under the same proxy, not the one
hand-made shape that the literature happens to name: under a short budget the deepest member is
seldom the best one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.errors import InvalidGenome
from brainformer.search.space.genome import Genome, Width
from brainformer.search.space.space import Space
from brainformer.search.space.zoo import REFERENCE_HEAD_DIM, fitted_genome, resolve_genome
from brainformer.search.validation import DEFINITION, NAME, NAME_OR_DEFINITION

SHORTHAND = "*"  # "glam*": the family of that block, at its default depths and widths
MOST_WIDTHS = 5
Item = TypeVar("Item")
Multiple = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


Block: TypeAlias = Annotated[
    Annotated[str, NAME] | Annotated[Genome, DEFINITION], NAME_OR_DEFINITION
]


class Member(NamedTuple):
    """One of a family, the block that it is cut from, by name, and its multiple of heads."""

    block: str
    genome: Genome
    heads: float = 1.0

    @property
    def shape(self) -> str:
        """What tells it from the others of its block, in words."""
        shape = f"{len(self.genome.layers)} sub-layers, d={self.genome.model_dim}"
        return shape if self.heads == 1 else f"{shape}, heads x{self.heads:g}"


def _is_empty(value: object) -> bool:
    return value == ()


class BaselineFamily(BaseModel):
    """One block, or some, cut to several depths, at several widths and learning rates.

    Attributes:
        family: A zoo name or a genome.
        also: More of them, cut alike: which simple block is the best is seldom known.
        depths: Sub-layers that are kept, from the first; by default the whole block and halves of
            it, as far as the space allows.
        model_dims: Widths, hidden dims and heads growing along; by default the space's, at most
            five of them.
        heads: Multiples of the heads that a block has at a width. By default 1 and, for blocks of
            the zoo under a proxy whose heads are narrower than theirs (64 channels), as many as
            keep attention as wide as it is there.
        learning_rates: Multiples of the proxy's peak learning rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Block
    also: Annotated[tuple[Block, ...], Field(max_length=8, exclude_if=_is_empty)] = ()
    depths: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(max_length=16)] = ()
    model_dims: Annotated[tuple[Width, ...], Field(max_length=16)] = ()
    heads: Annotated[tuple[Multiple, ...], Field(max_length=16, exclude_if=_is_empty)] = ()
    learning_rates: Annotated[tuple[Multiple, ...], Field(min_length=1, max_length=16)] = (1.0,)

    def members(self, space: Space, *, head_dim: int = REFERENCE_HEAD_DIM) -> list[Member]:
        """Returns the distinct members that lie in the space, thin, shallow and narrow ones first.

        Args:
            space: The space whose choices the members take.
            head_dim: Channels of one head under the proxy.

        Raises:
            NotFound: there is no zoo genome of that name.
            InvalidGenome: no member lies in the space; names why the first one does not.
        """
        dims = self.model_dims or spread(sorted(space.model_dim), MOST_WIDTHS)
        found: dict[str, Member] = {}
        why = ""
        for named in (self.family, *self.also):
            block = resolve_genome(named, space)
            name = named if isinstance(named, str) else f"block {block.digest[:8]}"
            depths = self.depths or default_depths(len(block.layers), space)
            heads = self.heads or default_heads(named, head_dim)
            for multiple, depth, dim in itertools.product(
                sorted(set(heads)), sorted(set(depths)), sorted(set(dims))
            ):
                member = _cut(named, space, depth, dim, multiple)
                objection = _too_deep(depth, block) or space.objection(member)
                if objection is None:
                    found.setdefault(member.digest, Member(name, member, multiple))
                why = why or objection or ""
        if not found:
            raise InvalidGenome(f"no member of the family lies in the space {space.name!r}: {why}")
        return list(found.values())

    def genomes(self, space: Space) -> list[Genome]:
        """Returns the members' genomes; see `members`."""
        return [member.genome for member in self.members(space)]


def _cut(named: str | Genome, space: Space, depth: int, dim: int, heads: float) -> Genome:
    whole = fitted_genome(named, space, dim, head_multiple=heads)
    return whole.model_copy(update={"layers": whole.layers[:depth]})


def default_depths(length: int, space: Space) -> tuple[int, ...]:
    """Returns the block's length and its halves, as far as the space allows them."""
    depths = []
    while length >= max(1, space.min_layers):
        if length <= space.max_layers:
            depths.append(length)
        if length % 2:
            break
        length //= 2
    return tuple(depths)


def default_heads(named: str | Genome, head_dim: int) -> tuple[float, ...]:
    """Returns the multiples of a block's heads at `head_dim` channels each."""
    narrower = REFERENCE_HEAD_DIM / head_dim
    return (1.0, narrower) if isinstance(named, str) and narrower > 1 else (1.0,)


def spread(values: Sequence[Item], most: int) -> tuple[Item, ...]:
    """Returns at most so many of the values (two or more), evenly spaced, both ends among them."""
    if len(values) <= most:
        return tuple(values)
    return tuple(values[round(at * (len(values) - 1) / (most - 1))] for at in range(most))


def read_shorthand(given: Any) -> Any:
    """Returns what "NAME*" stands for; anything else as it is."""
    if isinstance(given, str) and given.endswith(SHORTHAND):
        return {"family": given.removesuffix(SHORTHAND)}
    return given


def is_family(given: object) -> bool:
    """Returns whether plain data or a model is a family, not a genome or its name."""
    return isinstance(given, BaselineFamily) or (isinstance(given, dict) and "family" in given)


def _too_deep(depth: int, block: Genome) -> str | None:
    count = len(block.layers)
    return f"depth {depth} is above the block's {count} sub-layers" if depth > count else None
