"""Row types say of every table what the table says of itself."""

from __future__ import annotations

import types
from typing import Any, get_args, get_type_hints

import pytest
from sqlalchemy import Table

from brainformer.search.sql.connection import tables
from brainformer.search.sql.rows import table_rows

ROWS: dict[str, Any] = {
    "searches": table_rows.SearchRow,
    "search_notes": table_rows.NoteRow,
    "baselines": table_rows.BaselineRow,
    "trials": table_rows.TrialRow,
    "attempts": table_rows.AttemptRow,
    "events": table_rows.EventRow,
    "epochs": table_rows.EpochRow,
    "workers": table_rows.WorkerRow,
    "tokens": table_rows.TokenRow,
    "sessions": table_rows.SessionRow,
    "audit": table_rows.AuditRow,
}


def test_every_table_has_a_row_type() -> None:
    assert set(ROWS) == set(tables.metadata.tables)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_type_has_the_columns_of_its_table_in_their_order(name: str) -> None:
    table: Table = tables.metadata.tables[name]
    assert list(ROWS[name]._fields) == [column.name for column in table.columns]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_type_has_the_types_of_its_columns(name: str) -> None:
    hints = get_type_hints(ROWS[name])
    for column in tables.metadata.tables[name].columns:
        hint = hints[column.name]
        members = set(get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
        wanted = {column.type.python_type} | ({types.NoneType} if column.nullable else set())
        assert members == wanted, column.name
