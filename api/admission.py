"""Which searches and genomes this controller takes on: known data, sizes within its caps."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from api.settings import Settings
from search import cost
from search.errors import InvalidGenome, InvalidSpec, NotFound
from search.genome import LAYER_KINDS, Genome, Layer
from search.space import Space
from search.spec import Proxy, SearchSpec
from search.zoo import zoo_genome

Size = Callable[[Genome, Proxy], int]
BUILT_IN_DATASETS = ("python-stdlib",)


class KnownDataSets:
    """The data set ids that a search may name: built in, configured, offered by a worker."""

    def __init__(self, configured: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._hashes: dict[str, str | None] = dict.fromkeys((*BUILT_IN_DATASETS, *configured))

    def offer(self, datasets: Mapping[str, str] | None) -> None:
        """Remembers what a worker says it has."""
        if not datasets:
            return
        with self._lock:
            for name, digest in datasets.items():
                if len(self._hashes) < 10_000 or name in self._hashes:
                    self._hashes[name] = digest

    def all(self) -> dict[str, str | None]:
        """Returns every id with the hash that a worker gave last."""
        with self._lock:
            return dict(sorted(self._hashes.items()))


def admit(spec: SearchSpec, settings: Settings, datasets: KnownDataSets) -> None:
    """Refuses a spec before anything is written.

    Raises:
        InvalidSpec: an unknown space, zoo genome or data set; a genome beyond the caps.
    """
    known = datasets.all()
    if spec.proxy.dataset not in known:
        raise InvalidSpec(
            f"no data set of that name is known here; known: {', '.join(known)}; start a worker "
            "that has it, or name it in setting datasets",
            spec.proxy.dataset,
            "/proxy/dataset",
        )
    try:
        space = spec.resolved_space()
    except NotFound as error:
        raise InvalidSpec(error.message, pointer="/space") from None
    for size in (cost.parameters, cost.memory_bytes):
        check_size(largest_genome(space, spec.proxy, size), spec.proxy, settings, "/space")
    check_size(_resolved(spec.baseline, space, "/baseline"), spec.proxy, settings, "/baseline")
    for index, seed in enumerate(spec.seeds):
        pointer = f"/seeds/{index}"
        check_size(_resolved(seed, space, pointer), spec.proxy, settings, pointer)


def check_size(genome: Genome, proxy: Proxy, settings: Settings, pointer: str) -> None:
    """Refuses a genome beyond the caps.

    Raises:
        InvalidSpec: says how large it is, and which setting caps it.
    """
    parameters = cost.parameters(genome, proxy)
    if parameters > settings.max_parameters:
        raise InvalidSpec(
            f"a genome may have at most {settings.max_parameters} parameters here "
            f"(setting max_parameters), the largest has {parameters}",
            pointer=pointer,
        )
    needed = cost.memory_bytes(genome, proxy)
    if needed > settings.max_memory_bytes:
        raise InvalidSpec(
            f"a training step may need at most {settings.max_memory_bytes} bytes here "
            f"(setting max_memory_bytes), the largest needs {needed}",
            pointer=pointer,
        )


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
        first = error.errors(include_url=False)[0]
        raise InvalidSpec(f"a choice of the space: {first['msg']}", pointer="/space") from None

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
            why = error.errors(include_url=False)[0]["msg"]
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


def _resolved(named: str | Genome, space: Space, pointer: str) -> Genome:
    if isinstance(named, Genome):
        return named
    try:
        return zoo_genome(named, space)
    except (NotFound, InvalidGenome) as error:
        raise InvalidSpec(error.message, pointer=pointer) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidSpec(f"{named}: {first['msg']}", pointer=pointer) from None
