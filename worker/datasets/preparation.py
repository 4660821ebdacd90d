"""Preparation of data sets: text, JSONL and Parquet files into token shards with a manifest."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    Tokens,
    content_digest,
    default_data_folder,
    token_dtype,
)
from brainformer.worker.datasets.stdlib_text import BUILT_IN, is_validation
from brainformer.worker.datasets.tokenizers import Tokenizer, load_tokenizer

SHARD_TOKENS = 2**26
DATASET_ID = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")


def prepare_dataset(
    dataset_id: str,
    files: Sequence[Path],
    *,
    tokenizer: str = "bytes",
    text_field: str = "text",
    validation_share: float = 0.05,
    folder: Path | None = None,
    shard_tokens: int = SHARD_TOKENS,
) -> Manifest:
    """Writes a data set from files and returns its manifest.

    A text file is one document; a JSONL line and a Parquet row are one document each. The
    split is by document: one is held out or not by its own hash. Nothing is left behind when
    it fails.

    Args:
        dataset_id: The new data set's id; an old one of that id is replaced at the end.
        files: `.jsonl`, `.parquet`, anything else is text.
        tokenizer: "bytes", a tokenizers `.json` or a SentencePiece `.model`.
        text_field: The JSONL key or Parquet column that holds the text.
        validation_share: Expected share of documents that is held out.
        folder: Where data sets lie; the per-user folder by default.
        shard_tokens: Largest number of tokens in a shard.

    Raises:
        InvalidData: names the file and the rule that it breaks.
    """
    if not DATASET_ID.fullmatch(dataset_id):
        raise InvalidData(f"a data set's id matches {DATASET_ID.pattern}", dataset_id)
    if dataset_id == BUILT_IN:
        raise InvalidData("the built-in data set cannot be replaced; choose another id", dataset_id)
    if not files:
        raise InvalidData("a data set needs at least one file")
    if not 0 < validation_share < 1:
        raise InvalidData("validation_share must lie between 0 and 1", validation_share)
    return write_dataset(
        dataset_id,
        _documents(files, text_field),
        tokenizer=load_tokenizer(tokenizer),
        held_out=lambda text: is_validation(text, validation_share),
        folder=folder or default_data_folder(),
        shard_tokens=shard_tokens,
    )


def write_dataset(
    dataset_id: str,
    documents: Iterable[str],
    *,
    tokenizer: Tokenizer,
    held_out: Callable[[str], bool],
    folder: Path,
    shard_tokens: int = SHARD_TOKENS,
    replace: bool = True,
) -> Manifest:
    """Writes tokenized documents beside their final place and moves them there at once.

    Args:
        dataset_id: The folder's name.
        documents: The texts, in order.
        tokenizer: Turns each into tokens.
        held_out: Whether a document belongs to the validation split.
        folder: Where data sets lie.
        shard_tokens: Largest number of tokens in a shard.
        replace: Whether a data set of that id that appears meanwhile gives way.

    Raises:
        InvalidData: a split remains empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as temporary:
        place = Path(temporary) / "data"
        place.mkdir()
        writers = {
            name: _SplitWriter(place, name, tokenizer, shard_tokens)
            for name in ("train", "validation")
        }
        count = 0
        for document in documents:
            writers["validation" if held_out(document) else "train"].add(document)
            count += 1
        shards = {name: tuple(writer.close()) for name, writer in writers.items()}
        for name, made in shards.items():
            if not made:
                raise InvalidData(
                    f"data set {dataset_id}: the {name} split is empty; give more documents "
                    "or another validation share",
                    count,
                )
        manifest = _manifest(dataset_id, tokenizer, count, shards)
        (place / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
        _move(place, folder / dataset_id, replace=replace)
    return manifest


class _SplitWriter:
    """Collects tokens and writes a shard whenever enough have come together."""

    def __init__(self, place: Path, name: str, tokenizer: Tokenizer, shard_tokens: int) -> None:
        self._place = place
        self._name = name
        self._tokenizer = tokenizer
        self._limit = shard_tokens
        self._parts: list[Tokens] = []
        self._tokens = 0
        self._text_bytes = 0
        self._shards: list[Shard] = []

    def add(self, document: str) -> None:
        tokens = self._tokenizer.encode(document)
        if len(tokens) and int(tokens.max()) >= self._tokenizer.vocab_size:
            raise InvalidData(
                f"the {self._tokenizer.kind} tokenizer gave a token outside its vocabulary of "
                f"{self._tokenizer.vocab_size}; its file is damaged",
                int(tokens.max()),
            )
        self._parts.append(tokens.astype(token_dtype(self._tokenizer.vocab_size)))
        self._tokens += len(tokens)
        own = document.encode("utf-8")
        # Under byte tokens the end-of-document byte is part of the text, so a token is a byte.
        self._text_bytes += len(tokens) if self._tokenizer.kind == "bytes" else len(own)
        if self._tokens >= self._limit:
            self._flush()

    def close(self) -> list[Shard]:
        if self._tokens:
            self._flush()
        return self._shards

    def _flush(self) -> None:
        tokens = np.concatenate(self._parts)
        file = f"{self._name}-{len(self._shards):05d}.npy"
        np.save(self._place / file, tokens, allow_pickle=False)
        self._shards.append(
            Shard(
                file=file,
                tokens=len(tokens),
                text_bytes=self._text_bytes,
                sha256=content_digest(tokens),
            )
        )
        self._parts, self._tokens, self._text_bytes = [], 0, 0


def _manifest(
    dataset_id: str, tokenizer: Tokenizer, documents: int, shards: dict[str, tuple[Shard, ...]]
) -> Manifest:
    draft = Manifest.model_validate(
        {
            "id": dataset_id,
            "tokenizer": tokenizer.kind,
            "tokenizer_sha256": tokenizer.digest,
            "vocab_size": tokenizer.vocab_size,
            "documents": documents,
            "hash": "0" * 64,
            **shards,
        }
    )
    return draft.model_copy(update={"hash": draft.expected_hash()})


def _move(made: Path, place: Path, *, replace: bool) -> None:
    """Puts a finished data set in its place; of two makers at once, one wins whole."""
    if replace and place.exists():
        place.rename(made.parent / "old")
    try:
        made.rename(place)
    except OSError:
        if not (place / MANIFEST).exists():
            if place.exists():
                shutil.rmtree(place)  # left half-written by a foreign hand
            made.rename(place)


def _documents(files: Sequence[Path], text_field: str) -> Iterator[str]:
    for path in files:
        if not path.is_file():
            raise InvalidData(f"{path}: there is no such file")
        if path.suffix == ".jsonl":
            yield from _jsonl(path, text_field)
        elif path.suffix == ".parquet":
            yield from _parquet(path, text_field)
        else:
            yield _text(path)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path}: text must be UTF-8; byte {error.start} is not") from None


def _jsonl(path: Path, text_field: str) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                raise InvalidData(f"{path}: line {number} must be UTF-8") from None
            except json.JSONDecodeError as error:
                raise InvalidData(f"{path}: line {number} is not JSON: {error.msg}") from None
            text = row.get(text_field) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise InvalidData(f"{path}: line {number} needs a string under {text_field!r}")
            yield text


def _parquet(path: Path, text_field: str) -> Iterator[str]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            if text_field not in file.schema_arrow.names:
                raise InvalidData(
                    f"{path}: needs a column {text_field!r}; it has {file.schema_arrow.names}"
                )
            for batch in file.iter_batches(columns=[text_field]):
                for text in batch.column(0).to_pylist():
                    if not isinstance(text, str):
                        raise InvalidData(f"{path}: column {text_field!r} must hold strings")
                    yield text
    except (ArrowException, OSError) as error:
        raise InvalidData(f"{path}: is not a readable Parquet file: {error}") from None
