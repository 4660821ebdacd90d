"""The studies of a store in SQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from typing_extensions import override

from brainformer.search.sql.connection.database import Database, Transaction
from brainformer.search.sql.connection.tables import searches
from brainformer.search.sql.pool_store import SqlPools
from brainformer.search.sql.searches import made_before
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
        self,
        search_id: str,
        request: CertificateRequest,
        *,
        pool: str | None,
        actor: Actor,
        idempotency_key: str | None = None,
    ) -> SearchRecord:
        def create(tx: Transaction) -> SearchRecord:
            out = self._pools.now(tx)
            return certificates.create_certificate(
                tx, search_id, request, pool=pool, out=out, actor=actor
            )

        body = ["certificate", search_id, pool, request.model_dump_json()]
        return self._once(idempotency_key, body, create)

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
        idempotency_key: str | None = None,
    ) -> SearchRecord:
        def create(tx: Transaction) -> SearchRecord:
            return promotions.create_promotion(
                tx,
                search_id,
                request,
                pool=pool,
                out=self._pools.now(tx),
                caps=caps,
                actor=actor,
            )

        body = ["promotion", search_id, pool, request.model_dump_json()]
        return self._once(idempotency_key, body, create)

    def _once(
        self,
        key: str | None,
        body: list[str | None],
        create: Callable[[Transaction], SearchRecord],
    ) -> SearchRecord:
        """Returns what the key has made before, or else creates it.

        What would be created the second time may differ, as the search has gone on, or be refused:
        the body decides, not what comes of it.
        """
        with self._database.write() as tx:
            if key is None:
                return create(tx)
            digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
            made = made_before(tx, key, digest)
            if made is None:
                made = create(tx)
                tx.change(searches, made.id, {"idempotency_key": key, "spec_hash": digest})
            return made

    @override
    def promotions(self, search_id: str) -> list[PromotionRecord]:
        with self._database.read() as tx:
            return promotions.promotions_of(tx, search_id)

    @override
    def promotion(self, search_id: str, study_id: str) -> PromotionRecord:
        with self._database.read() as tx:
            return promotions.promotion(tx, search_id, study_id)
