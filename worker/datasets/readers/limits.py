"""How large a document may be, and how far a compressed file may expand: both bound the memory."""

from __future__ import annotations

from brainformer.search.errors import InvalidData

MEBIBYTE = 2**20
DOCUMENT_BYTES = 16 * MEBIBYTE
# Text is rarely packed a hundredfold; what is, and is large, was made to fill memory or disk.
HARMLESS_BYTES = 256 * MEBIBYTE
MOST_EXPANSION = 200


def check_document(size: int, limit: int, where: str) -> None:
    """Refuses a document of more than `limit` bytes.

    Raises:
        InvalidData: says where it stands and what to do.
    """
    if size > limit:
        raise InvalidData(
            f"{where} has more than {limit / MEBIBYTE:g} MiB, the most that one document may have; "
            "split it, or raise --max-document-mib"
        )


def check_expansion(expanded: int, stored: int, where: str) -> None:
    """Refuses a compressed file that holds far more than text does.

    Args:
        expanded: Bytes so far, decompressed.
        stored: Bytes of the file.
        where: The file's name.

    Raises:
        InvalidData: it expands too far.
    """
    if expanded > HARMLESS_BYTES and expanded > MOST_EXPANSION * stored:
        raise InvalidData(
            f"{where}: {stored:,} bytes expand to more than {MOST_EXPANSION} times as many; "
            "decompress the file yourself if it is sound"
        )
