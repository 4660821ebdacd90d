"""The largest genome of a space, by parameters or by memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from brainformer.search.errors import InvalidSpec
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import LAYER_KINDS, Genome, Layer
from brainformer.search.space.space import Space
from brainformer.search.validation import first_problem

Size = Callable[[Genome, Proxy], int]


def largest_genome(space: Space, proxy: Proxy, size: Size) -> Genome:
    """Returns a genome of the space that no other exceeds in `size`.

    Parameters add up over sub-layers; memory is a sum plus the largest peak of one sub-layer. So
    the largest genome repeats the sub-layer that adds most, but for one place, which is tried.

    Raises:
        InvalidSpec: a choice that no genome may have.
    """
    try:
        dim = max(
            Genome(model_dim=dim, layers=(_attention(),)).model_dim for dim in space.model_dim
        )
    except ValidationError as error:
        why = first_problem(error).rule
        raise InvalidSpec(f"a choice of the space: {why}", pointer="/space") from None

    def sized(*layers: Layer) -> int:
        return size(Genome(model_dim=dim, layers=layers), proxy)

    extremes = [layer for kind in space.layers for layer in _extremes(kind, space, dim)]
    most = max(extremes, key=lambda layer: sized(layer, layer) - sized(layer))
    rest = (most,) * (space.max_layers - 1)
    one = max(extremes, key=lambda layer: sized(*rest, layer))
    return Genome(model_dim=dim, layers=(*rest, one))


def _extremes(kind: str, space: Space, dim: int) -> list[Layer]:
    """Returns the sub-layers with the smallest and largest numbers, for each choice of words.

    The smallest counts too: rank 0 means whole matrices, capacity factor 0 that nothing is dropped.

    Raises:
        InvalidSpec: none of them fits the model dim.
    """
    choices = [_ends(values) for values in space.layers[kind].values()]
    found: list[Layer] = []
    why = ""
    for values in itertools.product(*choices):
        try:
            layer = LAYER_KINDS[kind].model_validate(
                dict(zip(space.layers[kind], values, strict=True))
            )
            Genome(model_dim=dim, layers=(layer,))
        except ValidationError as error:
            why = first_problem(error).rule
        else:
            found.append(layer)
    if not found:
        raise InvalidSpec(f"a choice of the space: {why}", pointer=f"/space/layers/{kind}")
    return found


def _ends(values: tuple[Any, ...]) -> list[Any]:
    numbers = [value for value in values if not isinstance(value, str)]
    ends = sorted({min(numbers), max(numbers)}) if numbers else []
    return [*ends, *(value for value in values if isinstance(value, str))]


def _attention() -> Layer:
    return LAYER_KINDS["attention"].model_validate({"heads": 1})
