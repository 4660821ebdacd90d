"""What pictures of a search are drawn from: thinned by the store, never every row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from brainformer.search.charts.pictures import (
    Ancestors,
    Composition,
    Costs,
    Failures,
    Front,
    Gains,
    Lineage,
    Overview,
    Spans,
)
from brainformer.search.store.records import TrialRecord


@dataclass(frozen=True)
class Stretch:
    """Which trials of a search are looked at.

    Attributes:
        pool: Only its trials; None means all.
        first: Number of the first one.
        last: Number of the last one; None is the newest.
    """

    pool: str | None = None
    first: int = 0
    last: int | None = None


WHOLE = Stretch()


@dataclass(frozen=True)
class TrialRows:
    """Some rows of a sorted and filtered table, and how many it has."""

    items: tuple[TrialRecord, ...]
    total: int


class ChartStore(ABC):
    """Searches as columns and in summary. Every method's answer is bounded, however long it is.

    All raise `NotFound` where there is no such search.
    """

    @abstractmethod
    def warm(self) -> None:
        """Reads the searches that are likely to be looked at, so that the first look is quick."""

    @abstractmethod
    def overview(
        self,
        search_id: str,
        where: Stretch = WHOLE,
        *,
        after_seq: int | None = None,
        buckets: int = 800,
    ) -> Overview:
        """Returns the stretch thinned, or what changed after `after_seq` if that is little."""

    @abstractmethod
    def front(self, search_id: str, where: Stretch = WHOLE) -> Front:
        """Returns gain against step time: every pool's front, and a grid of many trials."""

    @abstractmethod
    def gains(self, search_id: str, where: Stretch = WHOLE) -> Gains:
        """Returns the gain of children over their parents by what was changed."""

    @abstractmethod
    def composition(self, search_id: str, where: Stretch = WHOLE) -> Composition:
        """Returns what candidates were made of, over stretches of the search."""

    @abstractmethod
    def lineage(self, search_id: str, *, root: int | None = None) -> Lineage:
        """Returns the population with its ancestors, or the descendants of a trial."""

    @abstractmethod
    def failures(self, search_id: str, where: Stretch = WHOLE) -> Failures:
        """Returns why trials did not complete, grouped by reason."""

    @abstractmethod
    def machines(self, search_id: str) -> Spans:
        """Returns the latest attempts by worker."""

    @abstractmethod
    def table(
        self,
        search_id: str,
        where: Stretch = WHOLE,
        *,
        sort: str,
        words: Sequence[str] = (),
        offset: int = 0,
        limit: int = 100,
    ) -> TrialRows:
        """Returns rows of a sorted and filtered table; all words must hold of a trial."""

    @abstractmethod
    def costs(self, search_id: str, number: int) -> Costs:
        """Returns what a trial's block costs, sub-layer by sub-layer."""

    @abstractmethod
    def ancestors(self, search_id: str, number: int) -> Ancestors:
        """Returns where a trial comes from, without its ancestors' blocks but the parent's."""

    @abstractmethod
    def spark(self, search_id: str) -> tuple[list[float | None], list[str]]:
        """Returns the best single run so far at up to 40 places, and the search's pools."""
