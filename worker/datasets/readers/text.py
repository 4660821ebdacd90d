"""Text files: one document each."""

from __future__ import annotations

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.readers.limits import check_document
from brainformer.worker.datasets.readers.sources import Source
from brainformer.worker.datasets.readers.streams import opened


def read_text(source: Source, *, max_bytes: int) -> str:
    """Returns the file's text.

    Raises:
        InvalidData: it is not UTF-8 or larger than one document may be.
    """
    with opened(source) as stream:
        data = stream.read(max_bytes + 1)
    check_document(len(data), max_bytes, f"{source.name}: a text file is one document, and this")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidData(f"{source.name}: text must be UTF-8; byte {error.start} is not") from None
