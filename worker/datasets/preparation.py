"""Preparation of data sets: documents into token shards with a manifest."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.kept_tokenizer import keep_tokenizer
from brainformer.worker.datasets.manifest import (
    MANIFEST,
    Manifest,
    Overlap,
    Shard,
    default_data_folder,
)
from brainformer.worker.datasets.overlap import OVERLAP_TOKENS
from brainformer.worker.datasets.readers.documents import read_documents
from brainformer.worker.datasets.readers.limits import DOCUMENT_BYTES
from brainformer.worker.datasets.readers.sources import Format
from brainformer.worker.datasets.shard_writer import ShardWriter, without_repeats
from brainformer.worker.datasets.splits import SPLITS, Shares, SplitName
from brainformer.worker.datasets.stdlib_text import BUILT_IN
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
    test_share: float | None = None,
    folder: Path | None = None,
    shard_tokens: int = SHARD_TOKENS,
) -> Manifest:
    """Writes a data set from files and returns its manifest.

    A text file is one document; a JSONL line and a Parquet row are one document each. A document
    belongs to one split by its own hash; passages of a held-out split that stand in training are
    left out. Nothing is left behind when it fails.

    Args:
        dataset_id: The new data set's id; an old one of that id is replaced at the end.
        files: Files, folders, or `-` for the standard input.
        tokenizer: "bytes", a tokenizers `.json` or a SentencePiece `.model`.
        text_field: The JSONL key or Parquet column that holds the text.
        format: Of all files; by default each one's name tells.
        end_token: See `load_tokenizer`.
        max_document_bytes: Most bytes of UTF-8 that one document may have.
        validation_share: Expected share of documents that a search judges by.
        test_share: Expected share of documents that no search reads; as large by default, 0 for
            none.
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
    shares = _shares(validation_share, test_share)
    return write_dataset(
        dataset_id,
        read_documents(files, text_field=text_field, format=format, max_bytes=max_document_bytes),
        tokenizer=load_tokenizer(tokenizer, end_token),
        shares=shares,
        folder=folder or default_data_folder(),
        shard_tokens=shard_tokens,
    )


def write_dataset(
    dataset_id: str,
    documents: Iterable[str],
    *,
    tokenizer: Tokenizer,
    shares: Shares,
    folder: Path,
    shard_tokens: int = SHARD_TOKENS,
    replace: bool = True,
) -> Manifest:
    """Writes tokenized documents beside their final place and moves them there at once.

    Args:
        dataset_id: The folder's name.
        documents: The texts, in order.
        tokenizer: Turns each into tokens.
        shares: Of documents that are held out.
        folder: Where data sets lie.
        shard_tokens: Largest number of tokens in a shard.
        replace: Whether a data set of that id that appears meanwhile gives way.

    Raises:
        InvalidData: a split remains empty, or all that was held out stands in training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as temporary:
        place = Path(temporary) / "data"
        place.mkdir()
        writers = {
            name: ShardWriter(place, name, tokenizer, shard_tokens)
            for name in SPLITS
            if name != "test" or shares.test
        }
        count = 0
        for document in documents:
            writers[shares.split_of(document)].add(document)
            count += 1
        written = {name: writer.close() for name, writer in writers.items()}
        for name, shards in written.items():
            if not shards:
                raise InvalidData(
                    f"data set {dataset_id}: the {name} split is empty, for a document belongs to "
                    f"one split whole and there are {count} of them; {_more(count, name)}"
                )
        overlap = _leave_out_repeats(dataset_id, place, written, tokenizer)
        manifest = _manifest(dataset_id, tokenizer, count, written, overlap)
        keep_tokenizer(place, tokenizer)
        (place / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
        _move(place, folder / dataset_id, replace=replace)
    return manifest


def _shares(validation: float, test: float | None) -> Shares:
    """Returns the shares.

    Raises:
        InvalidData: one is out of its range, or nothing is left for training.
    """
    if not 0 < validation < 1:
        raise InvalidData("the validation share must be above 0 and below 1", validation)
    test = min(validation, (1 - validation) / 2) if test is None else test
    if not 0 <= test < 1 - validation:
        rule = (
            "the test share must be at least 0 and leave documents to train on: beside a "
            f"validation share of {validation:g} it is below {1 - validation:g}"
        )
        raise InvalidData(rule, test)
    return Shares(validation=validation, test=test)


def _leave_out_repeats(
    dataset_id: str, place: Path, written: dict[SplitName, list[Shard]], tokenizer: Tokenizer
) -> Overlap:
    """Leaves out of each held-out split what stands in training, or in the one before it."""
    others, gone = list(written["train"]), {"validation": 0, "test": 0}
    for name in SPLITS[1:]:
        if name not in written:
            continue
        written[name], gone[name] = without_repeats(place, written[name], others, tokenizer)
        if sum(shard.tokens for shard in written[name]) < OVERLAP_TOKENS:
            raise InvalidData(
                f"data set {dataset_id}: nothing is left of the {name} split, for all of its "
                f"passages of {OVERLAP_TOKENS} tokens stand in another split too; give other files"
            )
        others += written[name]
    return Overlap(
        passage_tokens=OVERLAP_TOKENS,
        validation_tokens=gone["validation"],
        test_tokens=gone["test"],
    )


def _more(documents: int, split: SplitName) -> str:
    """Returns what to do about an empty split."""
    if documents < FEW_DOCUMENTS:
        return "a text file is one document: give more files, or JSONL with a document a line"
    share = "test-share, or 0 for none" if split == "test" else "validation-share"
    return f"choose another --{share}"


def _manifest(
    dataset_id: str,
    tokenizer: Tokenizer,
    documents: int,
    shards: dict[SplitName, list[Shard]],
    overlap: Overlap,
) -> Manifest:
    draft = Manifest.model_validate(
        {
            "id": dataset_id,
            "tokenizer": tokenizer.kind,
            "tokenizer_sha256": tokenizer.digest,
            "end_token": tokenizer.end_token,
            "vocab_size": tokenizer.vocab_size,
            "documents": documents,
            "hash": "0" * 64,
            "overlap": overlap,
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
