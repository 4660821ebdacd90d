"""Which searches and genomes this controller takes on: known data, sizes within its caps."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from brainformer.api.settings import Settings
from brainformer.search.cost import cost
from brainformer.search.cost.largest import largest_genome
from brainformer.search.errors import InvalidSpec
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.spec import SearchSpec, resolve_spec

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
        InvalidSpec: an unknown space or data set, a genome that cannot run, a space beyond caps.
    """
    check_dataset(spec.proxy.dataset, "/proxy/dataset", datasets)
    space = resolve_spec(spec).space
    for size in (cost.parameters, cost.memory_bytes):
        _check_size(largest_genome(space, spec.proxy, size), spec.proxy, settings)


def check_dataset(name: str, where: str, datasets: KnownDataSets) -> None:
    """Refuses a data set that no worker has offered and no setting names.

    Args:
        name: Its id.
        where: JSON pointer of where it stands.
        datasets: Those that are known.

    Raises:
        InvalidSpec: it is not known; lists those that are.
    """
    known = datasets.all()
    if name not in known:
        raise InvalidSpec(
            f"no data set of that name is known here; known: {', '.join(known)}; start a worker "
            "that has it, or name it in setting datasets",
            name,
            where,
        )


def _check_size(genome: Genome, proxy: Proxy, settings: Settings) -> None:
    """Refuses a space whose largest genome is beyond the caps.

    Raises:
        InvalidSpec: says how large it is, and which setting caps it.
    """
    parameters = cost.parameters(genome, proxy)
    if parameters > settings.max_parameters:
        raise InvalidSpec(
            f"a genome may have at most {settings.max_parameters} parameters here "
            f"(setting max_parameters), the largest has {parameters}",
            pointer="/space",
        )
    needed = cost.memory_bytes(genome, proxy)
    if needed > settings.max_memory_bytes:
        raise InvalidSpec(
            f"a training step may need at most {settings.max_memory_bytes} bytes here "
            f"(setting max_memory_bytes), the largest needs {needed}",
            pointer="/space",
        )
