"""A search's history held in memory, for libraries, tests and benchmarks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from typing_extensions import override

from brainformer.search.space.genome import Genome
from brainformer.search.trials.history import History, Observation


class MemoryHistory(History):
    """Keeps every digest, and as many finished candidates as anyone may ask for."""

    def __init__(self, *, window: int = 100_000) -> None:
        self._digests: set[str] = set()
        self._open: dict[int, Genome] = {}
        self._finished: deque[Observation] = deque(maxlen=window)
        self._count = 0
        self._noise: float | None = None
        self._imported = 0

    def add_proposed(self, number: int, genome: Genome) -> None:
        """Records a proposal; it is in flight until its end."""
        self._digests.add(genome.digest)
        self._open[number] = genome

    def add_imported(self, number: int, genome: Genome) -> None:
        """Records a genome that was evaluated elsewhere; its result follows."""
        self.add_proposed(number, genome)
        self._imported += 1

    def add_finished(
        self,
        number: int,
        genome: Genome,
        fitness: float,
        *,
        pruned: bool = False,
        step_time_ms: float | None = None,
        parameters: int | None = None,
    ) -> Observation:
        """Records a result and returns it as it will be seen."""
        self.drop(number)
        seen = Observation(number, self._count, genome, fitness, pruned, step_time_ms, parameters)
        self._finished.append(seen)
        self._count += 1
        return seen

    def drop(self, number: int) -> None:
        """Records that a candidate is no longer in flight; it does not need a result."""
        self._open.pop(number, None)

    def set_noise(self, noise: float | None) -> None:
        """States the standard deviation of fitness over repeats."""
        self._noise = noise

    @override
    def proposed(self) -> int:
        return len(self._digests)

    @override
    def imported(self) -> int:
        return self._imported

    @override
    def population(self, size: int) -> Sequence[Observation]:
        return self.recent(size)

    @override
    def recent(self, limit: int) -> Sequence[Observation]:
        start = max(0, len(self._finished) - limit)
        return [self._finished[i] for i in range(start, len(self._finished))]

    @override
    def in_flight(self, limit: int) -> Sequence[Genome]:
        return list(self._open.values())[-limit:]

    @override
    def finished(self) -> int:
        return self._count

    @override
    def tried(self, digests: Sequence[str]) -> frozenset[str]:
        return frozenset(digest for digest in digests if digest in self._digests)

    @override
    def noise(self) -> float | None:
        return self._noise
