"""Parquet files: one document a row, a few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.readers.limits import check_document, check_expansion
from brainformer.worker.datasets.readers.sources import STANDARD_INPUT, Source

BATCH_BYTES = 2**26
BATCH_ROWS = 1024


def read_parquet(source: Source, text_field: str, *, max_bytes: int) -> Iterator[str]:
    """Yields the text of each row.

    Raises:
        InvalidData: names the row, or what is wrong with the file.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    if source.compression or source.path == STANDARD_INPUT:
        raise InvalidData(f"{source.name}: a Parquet file must be a plain file; decompress it")
    try:
        with ParquetFile(source.path, pre_buffer=False, buffer_size=2**20) as file:
            column = _column(source, file, text_field)
            groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            sizes = [group.column(column).total_uncompressed_size for group in groups]
            check_expansion(sum(sizes), source.path.stat().st_size, source.name)
            before = 0
            for index, (group, size) in enumerate(zip(groups, sizes, strict=True)):
                rows = f"{source.name}: a row among {before + 1} to {before + group.num_rows}"
                check_document(size // max(1, group.num_rows), max_bytes, rows)
                # A value may be as large as its whole group, and in each of the rows.
                few = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, size)))
                texts = file.iter_batches(few, [index], [text_field], use_threads=False)
                yield from _texts(source, texts, text_field, before, max_bytes)
                before += group.num_rows
    except (ArrowException, OSError) as error:
        why = str(error).splitlines()[0]
        raise InvalidData(f"{source.name}: is not a readable Parquet file: {why}") from None


def _column(source: Source, file: Any, text_field: str) -> int:
    """Returns the column's place in the metadata, if it holds strings."""
    from pyarrow import types

    schema = file.schema_arrow
    if text_field not in schema.names:
        raise InvalidData(f"{source.name}: needs a column {text_field!r}; it has {schema.names}")
    kind = schema.field(text_field).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
        raise InvalidData(f"{source.name}: column {text_field!r} must hold strings, not {kind}")
    leaves = [file.schema.column(index).path for index in range(len(file.schema))]
    return leaves.index(text_field)


def _texts(
    source: Source, batches: Any, text_field: str, before: int, max_bytes: int
) -> Iterator[str]:
    row = before
    for batch in batches:
        for value in batch.column(0):
            row += 1
            where = f"{source.name}: row {row}"
            if not value.is_valid:
                raise InvalidData(f"{where} has no text in column {text_field!r}")
            text = _text(value, where)
            check_document(len(text.encode()), max_bytes, where)
            yield text


def _text(value: Any, where: str) -> str:
    try:
        text: str = value.as_py()
    except UnicodeDecodeError:  # the format promises UTF-8, and does not look
        raise InvalidData(f"{where} must be UTF-8") from None
    return text
