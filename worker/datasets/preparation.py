"""Preparation of data sets: documents into token shards with a manifest."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
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
from brainformer.worker.datasets.readers.documents import read_documents
from brainformer.worker.datasets.readers.limits import DOCUMENT_BYTES
from brainformer.worker.datasets.readers.sources import Format
from brainformer.worker.datasets.stdlib_text import BUILT_IN, is_validation
from brainformer.worker.datasets.tokenizers import Tokenizer, load_tokenizer

SHARD_TOKENS = 2**26
FEW_DOCUMENTS = 20
DATASET_ID = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")


def prepare_dataset(
    dataset_id: str,
    files: Sequence[Path],
    *,
    tokenizer: str = "bytes",
    text_field: str = "text",
    format: Format = Format.AUTO,  # noqa: A002 (the option's name)
    end_token: str | None = None,
    max_document_bytes: int = DOCUMENT_BYTES,
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
        files: Files, folders, or `-` for the standard input.
        tokenizer: "bytes", a tokenizers `.json` or a SentencePiece `.model`.
        text_field: The JSONL key or Parquet column that holds the text.
        format: Of all files; by default each one's name tells.
        end_token: See `load_tokenizer`.
        max_document_bytes: Most bytes of UTF-8 that one document may have.
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
        read_documents(files, text_field=text_field, format=format, max_bytes=max_document_bytes),
        tokenizer=load_tokenizer(tokenizer, end_token),
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
                    f"data set {dataset_id}: the {name} split is empty, for a document belongs to "
                    f"one split whole and there are {count} of them; {_more(count)}"
                )
        manifest = _manifest(dataset_id, tokenizer, count, shards)
        (place / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
        _move(place, folder / dataset_id, replace=replace)
    return manifest


def _more(documents: int) -> str:
    """Returns what to do about an empty split."""
    if documents < FEW_DOCUMENTS:
        return "a text file is one document: give more files, or JSONL with a document a line"
    return "choose another --validation-share"


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
