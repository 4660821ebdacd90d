"""The notes of a store in SQL."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from typing_extensions import override

from brainformer.search.sql import searches
from brainformer.search.sql.connection.database import Database
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import search_notes
from brainformer.search.sql.rows.table_rows import NoteRow
from brainformer.search.sql.rows.values import when
from brainformer.search.sql.tokens import audit_action
from brainformer.search.store.actor import Actor
from brainformer.search.store.note_store import NoteRecord, NoteStore


class SqlNotes(NoteStore):
    """Notes in a table of their own: a search's row changes with every trial."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    def list_all(self) -> list[NoteRecord]:
        with self._database.read() as tx:
            query = select(search_notes).order_by(search_notes.c.search_id)
            return [_record(row) for row in tx.all(NoteRow, query)]

    @override
    def change(
        self, search_id: str, *, note: str | None, archived: bool | None, actor: Actor
    ) -> NoteRecord:
        with self._database.write() as tx:
            search = searches.find(tx, search_id)
            own = search_notes.c.search_id == search.id
            before = tx.first(NoteRow, select(search_notes).where(own))
            row = NoteRow(search.id, "", None) if before is None else NoteRow(*before)
            if note is not None:
                row = row._replace(note=storable(note))
            if archived is not None and archived != (row.archived_at is not None):
                row = row._replace(archived_at=tx.now if archived else None)
            if before is not None and row == NoteRow(*before):
                return _record(row)
            tx.run(delete(search_notes).where(own))
            if row.note or row.archived_at is not None:
                tx.run(insert(search_notes), row._asdict())
            audit_action(tx, actor, "search.note", search.id)
            return _record(row)


def _record(row: NoteRow) -> NoteRecord:
    return NoteRecord(search_id=row.search_id, note=row.note, archived_at=when(row.archived_at))
