"""The studies of a store: trials of chosen blocks below a search, started and read."""

from __future__ import annotations

from abc import ABC, abstractmethod

from brainformer.search.store.actor import Actor
from brainformer.search.store.records import CertificateRecord, SearchRecord
from brainformer.search.studies.certificate import CertificateRequest


class StudyStore(ABC):
    """What has been asked about searches, and what their studies say so far."""

    @abstractmethod
    def create_certificate(
        self, search_id: str, request: CertificateRequest, *, pool: str | None, actor: Actor
    ) -> SearchRecord:
        """Creates a certificate of the search's proxy and queues its runs.

        Args:
            search_id: Of the search, which may have ended.
            request: How many blocks, seeds, budgets and widths.
            pool: Where it runs; the search's first by default.
            actor: Who asks.

        Raises:
            Conflict: no pool has a complete baseline, or not the one named.
            InvalidSpec: the search has too few completed candidates.
        """

    @abstractmethod
    def certificates(self, search_id: str) -> list[CertificateRecord]:
        """Returns the search's certificates, newest first, with what they show so far."""
