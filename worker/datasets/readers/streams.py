"""Bytes of a source, decompressed on the way; what goes wrong is one sentence with its name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import BinaryIO, cast

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.readers.limits import check_expansion
from brainformer.worker.datasets.readers.sources import STANDARD_INPUT, Source

UNPACK: Mapping[str, Callable[[BinaryIO], object]] = MappingProxyType(
    {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
)
BOM = b"\xef\xbb\xbf"
OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff")


class ByteStream:
    """A source's bytes, never more of them at a time than asked for.

    A byte order mark at the beginning is not part of the text and is left out.
    """

    def __init__(self, source: Source, file: BinaryIO, stored: int | None) -> None:
        self._source = source
        self._file = file
        self._stored = stored  # bytes of a compressed file, where that is known
        self._taken = 0

    def read(self, size: int) -> bytes:
        """Returns up to `size` bytes; fewer only at the end."""
        return self._counted(self._file.read(size))

    def line(self, size: int) -> bytes:
        """Returns what stands up to the next newline, up to `size` bytes; nothing at the end."""
        return self._counted(self._file.readline(size))

    def _counted(self, data: bytes) -> bytes:
        first = self._taken == 0
        self._taken += len(data)
        if self._stored is not None:
            check_expansion(self._taken, self._stored, self._source.name)
        if first and data.startswith(OTHER_ENCODINGS):
            raise InvalidData(f"{self._source.name} is UTF-16; turn it into UTF-8, as iconv does")
        return data.removeprefix(BOM) if first else data


@contextmanager
def opened(source: Source) -> Iterator[ByteStream]:
    """Yields the source's bytes.

    Raises:
        InvalidData: it cannot be read or decompressed.
    """
    try:
        if source.path == STANDARD_INPUT:
            yield ByteStream(source, sys.stdin.buffer, None)
            return
        with source.path.open("rb") as file:
            yield _stream(source, file)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(source, error) from None
    except OSError as error:
        if error.strerror is None:  # bz2 tells of damage so
            raise _damaged(source, error) from None
        raise InvalidData(f"{source.name}: cannot be read: {error.strerror}") from None


def _stream(source: Source, file: BinaryIO) -> ByteStream:
    if not source.compression:
        return ByteStream(source, file, None)
    stored = None if source.path.is_fifo() else source.path.stat().st_size
    return ByteStream(source, cast("BinaryIO", UNPACK[source.compression](file)), stored)


def _damaged(source: Source, error: Exception) -> InvalidData:
    return InvalidData(f"{source.name} is not a sound {source.compression} file: {error}")
