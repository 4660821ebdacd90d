"""The documents of many files, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from brainformer.worker.datasets.readers.json_lines import read_json_lines
from brainformer.worker.datasets.readers.limits import DOCUMENT_BYTES
from brainformer.worker.datasets.readers.parquet import read_parquet
from brainformer.worker.datasets.readers.sources import Format, Source, sources
from brainformer.worker.datasets.readers.text import read_text


def read_documents(
    paths: Sequence[Path],
    *,
    text_field: str = "text",
    format: Format = Format.AUTO,  # noqa: A002 (the option's name)
    max_bytes: int = DOCUMENT_BYTES,
) -> Iterator[str]:
    """Yields every document, in the order of the files; one at a time is in memory.

    Args:
        paths: Files, folders or `-` (the standard input); see `sources`.
        text_field: The JSONL key or Parquet column that holds the text.
        format: Of all of them; by default each one's name tells.
        max_bytes: Most bytes of UTF-8 that one document may have.

    Raises:
        InvalidData: names the file, the line or row, and the rule that it breaks.
    """
    for source in sources(paths, format):
        yield from _documents(source, text_field, max_bytes)


def _documents(source: Source, text_field: str, max_bytes: int) -> Iterator[str]:
    if source.format is Format.TEXT:
        yield read_text(source, max_bytes=max_bytes)
    elif source.format is Format.JSONL:
        yield from read_json_lines(source, text_field, max_bytes=max_bytes)
    else:
        yield from read_parquet(source, text_field, max_bytes=max_bytes)
