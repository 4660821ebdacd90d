"""The files that a command line names: folders walked, formats told by the name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from brainformer.search.errors import InvalidData

STANDARD_INPUT = Path("-")


class Format(StrEnum):
    """What a file holds; `auto` goes by its name."""

    AUTO = "auto"
    TEXT = "text"
    JSONL = "jsonl"
    PARQUET = "parquet"


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        ".jsonl": Format.JSONL,
        ".ndjson": Format.JSONL,
        ".jsonlines": Format.JSONL,
        ".parquet": Format.PARQUET,
        ".pq": Format.PARQUET,
    }
)
COMPRESSED = frozenset({".gz", ".bz2", ".xz"})
# Read as text, these would train a model on their syntax; --format text still says so on purpose.
NOT_TEXT: Mapping[str, str] = MappingProxyType(
    {
        ".json": "write one JSON object a line and call it .jsonl, for instance by jq -c '.[]'",
        ".csv": "turn it into JSONL or Parquet with one document a row",
        ".tsv": "turn it into JSONL or Parquet with one document a row",
        ".arrow": "write it as Parquet",
        ".feather": "write it as Parquet",
        ".zst": "decompress it first, for instance by zstd -d",
        ".zip": "unpack it first",
        ".tar": "unpack it first",
        ".tgz": "unpack it first",
        ".pdf": "extract its text first",
    }
)


@dataclass(frozen=True)
class Source:
    """One file to read.

    Attributes:
        path: Where it is; `-` is the standard input.
        format: What it holds, never `auto`.
        compression: ".gz", ".bz2", ".xz" or "".
    """

    path: Path
    format: Format
    compression: str = ""

    @property
    def name(self) -> str:
        """How messages call it."""
        return "standard input" if self.path == STANDARD_INPUT else str(self.path)


def sources(paths: Sequence[Path], given: Format = Format.AUTO) -> list[Source]:
    """Returns the files meant by `paths`, those of a folder sorted by their path.

    Args:
        paths: Files, folders, or `-`.
        given: The format of all of them; `auto` goes by each one's name.

    Raises:
        InvalidData: one is not there, is of no format that is read here, or a folder is empty.
    """
    return [_source(path, given) for named in paths for path in _files(named)]


def _files(named: Path) -> Iterator[Path]:
    if named == STANDARD_INPUT or named.is_file() or named.is_fifo():
        yield named
        return
    if not named.is_dir():
        there = named.exists()
        why = "is neither a file nor a folder" if there else "there is no such file"
        raise InvalidData(f"{named}: {why}")
    found = sorted(_below(named))
    if not found:
        raise InvalidData(f"{named}: the folder holds no files")
    yield from found


def _below(folder: Path) -> Iterator[Path]:
    """Yields the files in a folder and its folders; hidden ones, such as .git, are left out."""

    def refuse(error: OSError) -> None:
        raise InvalidData(f"{error.filename}: cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place) / name for name in files if not name.startswith("."))


def _source(path: Path, given: Format) -> Source:
    *before, last = ["", *(suffix.lower() for suffix in path.suffixes)]
    compression = last if last in COMPRESSED else ""
    kind = last if not compression or not before else before[-1]
    if given is not Format.AUTO:
        return Source(path, given, compression)
    if path == STANDARD_INPUT or path.is_fifo():
        raise InvalidData(
            f"{path}: a pipe has no name that tells its format; add --format text or --format jsonl"
        )
    if kind in NOT_TEXT:
        raise InvalidData(f"{path}: {kind} files are not read; {NOT_TEXT[kind]}")
    return Source(path, FORMATS.get(kind, Format.TEXT), compression)
