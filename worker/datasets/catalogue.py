"""The data sets of this machine, listed and opened by id; the built-in one is made at first use."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainformer.search.errors import InvalidData, NotFound
from brainformer.worker.datasets.dataset import Dataset, Split
from brainformer.worker.datasets.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    Tokens,
    content_digest,
    default_data_folder,
    read_manifest,
    token_dtype,
)
from brainformer.worker.datasets.preparation import write_dataset
from brainformer.worker.datasets.stdlib_text import BUILT_IN, STDLIB_SHARES, stdlib_documents
from brainformer.worker.datasets.tokenizers import ByteTokenizer


def list_datasets(folder: Path | None = None) -> list[Manifest]:
    """Returns the manifests of the data sets in `folder`; damaged ones are left out."""
    folder = folder or default_data_folder()
    found = []
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            found.append(read_manifest(path.parent))
        except InvalidData:
            continue
    return found


def open_dataset(dataset_id: str, folder: Path | None = None, *, verify: bool = True) -> Dataset:
    """Returns the data set of that id; the built-in one is made at first use.

    Args:
        dataset_id: Its id.
        folder: Where data sets lie; the per-user folder by default.
        verify: Whether to compare every shard's content with the manifest's hash, besides its
            length and type. It reads all tokens once.

    Raises:
        NotFound: there is no such data set; the message lists what there is.
        InvalidData: a file is corrupt, truncated or not what the manifest says.
    """
    root = folder or default_data_folder()
    if dataset_id == BUILT_IN:
        _ensure_stdlib(root)
    place = root / dataset_id
    if place.parent != root or not (place / MANIFEST).exists():
        known = sorted({BUILT_IN, *(manifest.id for manifest in list_datasets(root))})
        raise NotFound("data set", dataset_id, known)
    manifest = read_manifest(place)
    train = [_open_shard(place, shard, manifest, verify) for shard in manifest.train]
    validation = [_open_shard(place, shard, manifest, verify) for shard in manifest.validation]
    test = [_open_shard(place, shard, manifest, verify) for shard in manifest.test]
    return Dataset(
        Split(train, name="train"),
        Split(validation, name="validation"),
        Split(test, name="test") if test else None,
        manifest,
        place,
    )


def _ensure_stdlib(folder: Path) -> None:
    """Makes the built-in data set in `folder` unless it is there already, with a test split."""
    there = (folder / BUILT_IN / MANIFEST).exists()
    if there and read_manifest(folder / BUILT_IN).test:
        return
    write_dataset(
        BUILT_IN,
        stdlib_documents(),
        tokenizer=ByteTokenizer(),
        shares=STDLIB_SHARES,
        folder=folder,
        replace=there,
    )


def _open_shard(place: Path, shard: Shard, manifest: Manifest, verify: bool) -> Tokens:
    path = place / shard.file
    try:
        tokens: Tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InvalidData(f"{path}: the shard is missing") from None
    except (ValueError, OSError, EOFError) as error:
        raise InvalidData(f"{path}: the shard is corrupt or truncated: {error}") from None
    dtype = token_dtype(manifest.vocab_size)
    if tokens.ndim != 1 or tokens.dtype != dtype:
        raise InvalidData(
            f"{path}: a shard is one row of {dtype}", f"{tokens.ndim}-d {tokens.dtype}"
        )
    if len(tokens) != shard.tokens:
        raise InvalidData(f"{path}: must hold {shard.tokens} tokens", len(tokens))
    if verify and content_digest(tokens) != shard.sha256:
        raise InvalidData(f"{path}: its content's hash is not the manifest's")
    if verify and len(tokens) and int(tokens.max()) >= manifest.vocab_size:
        raise InvalidData(f"{path}: tokens must be below {manifest.vocab_size}", int(tokens.max()))
    return tokens
