"""What evolution may know of a search: a bounded view, whatever the number of trials."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from brainformer.search.space.genome import Genome


@dataclass(frozen=True)
class Observation:
    """One finished candidate, as evolution sees it.

    Attributes:
        number: The trial's number in its search.
        finished: Rank in order of completion (0 for the first); age is counted by it.
        fitness: Nats a token better than the baseline; -1 when pruned; higher is better.
        step_time_ms: Time of a training step, if it was measured.
        parameters: Number of parameters of the proxy model, if it was measured.
    """

    number: int
    finished: int
    genome: Genome
    fitness: float
    pruned: bool = False
    step_time_ms: float | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Proposal:
    """A genome to try next, and where it comes from.

    Attributes:
        origin: "seed", "random" or "mutation".
        parent: Number of the parent trial, for mutations.
        mutation: What was done to the parent, in one readable phrase ("" if nothing).
    """

    genome: Genome
    origin: str
    parent: int | None = None
    mutation: str = ""


class History(ABC):
    """What a proposal reads of its search. Every method costs O(its answer), not O(trials)."""

    @abstractmethod
    def proposed(self) -> int:
        """Returns how many candidates have been proposed so far."""

    def imported(self) -> int:
        """Returns how many of those proposed were evaluated elsewhere, before the search."""
        return 0

    @abstractmethod
    def population(self, size: int) -> Sequence[Observation]:
        """Returns the last `size` completed or pruned candidates, oldest first."""

    @abstractmethod
    def recent(self, limit: int) -> Sequence[Observation]:
        """Returns the last `limit` finished candidates, oldest first (the surrogate's window)."""

    @abstractmethod
    def in_flight(self, limit: int) -> Sequence[Genome]:
        """Returns the last `limit` candidates that were proposed and have not ended, by number."""

    @abstractmethod
    def finished(self) -> int:
        """Returns how many candidates have completed or been pruned."""

    @abstractmethod
    def tried(self, digests: Sequence[str]) -> frozenset[str]:
        """Returns those of `digests` that were already proposed in this search."""

    @abstractmethod
    def noise(self) -> float | None:
        """Returns the standard deviation of fitness over the baseline's repeats, if known."""
