"""The studies of a store in SQL."""

from __future__ import annotations

from typing_extensions import override

from brainformer.search.sql import studies
from brainformer.search.sql.connection.database import Database
from brainformer.search.store.actor import Actor
from brainformer.search.store.records import CertificateRecord, SearchRecord
from brainformer.search.store.study_store import StudyStore
from brainformer.search.studies.certificate import CertificateRequest


class SqlStudies(StudyStore):
    """Studies kept as searches without proposals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    def create_certificate(
        self, search_id: str, request: CertificateRequest, *, pool: str | None, actor: Actor
    ) -> SearchRecord:
        with self._database.write() as tx:
            return studies.create_certificate(tx, search_id, request, pool=pool, actor=actor)

    @override
    def certificates(self, search_id: str) -> list[CertificateRecord]:
        with self._database.read() as tx:
            return studies.certificates_of(tx, search_id)
