"""The studies of a store in SQL."""

from __future__ import annotations

from typing_extensions import override

from brainformer.search.sql.connection.database import Database
from brainformer.search.sql.pool_store import SqlPools
from brainformer.search.sql.studies import certificates, promotions
from brainformer.search.store.actor import Actor
from brainformer.search.store.records import CertificateRecord, PromotionRecord, SearchRecord
from brainformer.search.store.study_store import StudyStore
from brainformer.search.studies.certificate import CertificateRequest
from brainformer.search.studies.promotion import NO_CAPS, Caps, PromotionRequest


class SqlStudies(StudyStore):
    """Studies kept as searches without proposals."""

    def __init__(self, database: Database, pools: SqlPools) -> None:
        self._database = database
        self._pools = pools

    @override
    def create_certificate(
        self, search_id: str, request: CertificateRequest, *, pool: str | None, actor: Actor
    ) -> SearchRecord:
        with self._database.write() as tx:
            out = self._pools.now(tx)
            return certificates.create_certificate(
                tx, search_id, request, pool=pool, out=out, actor=actor
            )

    @override
    def certificates(self, search_id: str) -> list[CertificateRecord]:
        with self._database.read() as tx:
            return certificates.certificates_of(tx, search_id)

    @override
    def create_promotion(
        self,
        search_id: str,
        request: PromotionRequest,
        *,
        pool: str | None,
        actor: Actor,
        caps: Caps = NO_CAPS,
    ) -> SearchRecord:
        with self._database.write() as tx:
            return promotions.create_promotion(
                tx,
                search_id,
                request,
                pool=pool,
                out=self._pools.now(tx),
                caps=caps,
                actor=actor,
            )

    @override
    def promotions(self, search_id: str) -> list[PromotionRecord]:
        with self._database.read() as tx:
            return promotions.promotions_of(tx, search_id)

    @override
    def promotion(self, search_id: str, study_id: str) -> PromotionRecord:
        with self._database.read() as tx:
            return promotions.promotion(tx, search_id, study_id)
