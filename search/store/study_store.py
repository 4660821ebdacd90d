"""The studies of a store: trials of chosen blocks below a search, started and read."""

from __future__ import annotations

from abc import ABC, abstractmethod

from brainformer.search.store.actor import Actor
from brainformer.search.store.records import CertificateRecord, PromotionRecord, SearchRecord
from brainformer.search.studies.certificate import CertificateRequest
from brainformer.search.studies.promotion import NO_CAPS, Caps, PromotionRequest


class StudyStore(ABC):
    """What has been asked about searches, and what their studies say so far."""

    @abstractmethod
    def create_certificate(
        self,
        search_id: str,
        request: CertificateRequest,
        *,
        pool: str | None,
        actor: Actor,
        idempotency_key: str | None = None,
    ) -> SearchRecord:
        """Creates a certificate of the search's proxy and queues its runs.

        Args:
            search_id: Of the search, which may have ended.
            request: How many blocks, seeds, budgets and widths.
            pool: Where it runs; the search's first by default.
            actor: Who asks.
            idempotency_key: The same key with the same body never creates twice.

        Raises:
            IdempotencyMismatch: the key was used with another body.
            Conflict: no pool has a complete baseline, or not the one named.
            InvalidSpec: the search has too few completed candidates.
        """

    @abstractmethod
    def certificates(self, search_id: str) -> list[CertificateRecord]:
        """Returns the search's certificates, newest first, with what they show so far."""

    @abstractmethod
    def create_promotion(
        self,
        search_id: str,
        request: PromotionRequest,
        *,
        pool: str | None,
        actor: Actor,
        caps: Caps = NO_CAPS,
        idempotency_key: str | None = None,
    ) -> SearchRecord:
        """Creates a promotion of the search's best blocks and queues its first runs.

        Args:
            search_id: Of the search, which may have ended.
            request: Which blocks, scales, targets and budgets.
            pool: Where it runs; the best block's own by default.
            actor: Who asks.
            caps: The largest model that may be trained.
            idempotency_key: The same key with the same body never creates twice.

        Raises:
            IdempotencyMismatch: the key was used with another body.
            Conflict: no pool has a complete baseline, or not the one named; or nobody works on it.
            InvalidSpec: there is nothing to promote, or it cannot get to these points, or the
                budget is too small.
        """

    @abstractmethod
    def promotions(self, search_id: str) -> list[PromotionRecord]:
        """Returns the search's promotions, newest first, with what they show so far."""

    @abstractmethod
    def promotion(self, search_id: str, study_id: str) -> PromotionRecord:
        """Returns one promotion of the search.

        Raises:
            NotFound: the search has none of that id or name.
        """
