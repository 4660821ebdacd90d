"""A search's history held in memory, for libraries, tests and benchmarks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

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

    def add_proposed(self, number: int, genome: Genome) -> None:
        """Records a proposal; it is in flight until its end."""
        self._digests.add(genome.digest)
        self._open[number] = genome

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
        """Records that a candidate is in flight no more; it needs no result."""
        self._open.pop(number, None)

    def set_noise(self, noise: float | None) -> None:
        """States the standard deviation of fitness over repeats."""
        self._noise = noise

    def proposed(self) -> int:
        """Returns how many candidates have been proposed so far."""
        return len(self._digests)

    def population(self, size: int) -> Sequence[Observation]:
        """Returns the last `size` finished candidates, oldest first."""
        return self.recent(size)

    def recent(self, limit: int) -> Sequence[Observation]:
        """Returns the last `limit` finished candidates, oldest first."""
        start = max(0, len(self._finished) - limit)
        return [self._finished[i] for i in range(start, len(self._finished))]

    def in_flight(self, limit: int) -> Sequence[Genome]:
        """Returns the last `limit` candidates that were proposed and have not ended, by number."""
        return list(self._open.values())[-limit:]

    def finished(self) -> int:
        """Returns how many candidates have finished."""
        return self._count

    def tried(self, digests: Sequence[str]) -> frozenset[str]:
        """Returns those of `digests` that were already proposed."""
        return frozenset(digest for digest in digests if digest in self._digests)

    def noise(self) -> float | None:
        """Returns the standard deviation of fitness over repeats, if it was stated."""
        return self._noise
