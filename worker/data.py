"""Data sets: memory-mapped token shards with a manifest, and deterministic batches of them.

A data set is a folder named by its id: `manifest.json` and NumPy files of one dimension. The
manifest's `hash` covers the tokenizer and every shard's content; a search records it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search.errors import InvalidData, NotFound
from search.spec import Name

MANIFEST = "manifest.json"
BUILT_IN = "python-stdlib"
Tokens = npt.NDArray[np.unsignedinteger]
Batch = npt.NDArray[np.int32]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ShardName = Annotated[str, Field(pattern=r"^[a-z]+-[0-9]{5}\.npy$")]


class Shard(BaseModel):
    """One file of tokens; `text_bytes` is the UTF-8 length of the text that it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: ShardName
    tokens: Annotated[int, Field(ge=0)]
    text_bytes: Annotated[int, Field(ge=0)]
    sha256: Digest


class Manifest(BaseModel):
    """What a data set holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    id: Name
    tokenizer: Literal["bytes", "huggingface", "sentencepiece"]
    tokenizer_sha256: str = ""
    vocab_size: Annotated[int, Field(ge=1)]
    documents: Annotated[int, Field(ge=0)]
    train: tuple[Shard, ...]
    validation: tuple[Shard, ...]
    hash: Digest

    def expected_hash(self) -> str:
        """Returns the hash over the tokenizer and the shards' contents, in order."""
        parts = [self.tokenizer, self.tokenizer_sha256, str(self.vocab_size)]
        parts += [f"train:{shard.sha256}" for shard in self.train]
        parts += [f"validation:{shard.sha256}" for shard in self.validation]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def train_tokens(self) -> int:
        """Tokens to train on."""
        return sum(shard.tokens for shard in self.train)

    @property
    def validation_tokens(self) -> int:
        """Tokens held out."""
        return sum(shard.tokens for shard in self.validation)

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes a token over the validation split; 1 for byte tokens."""
        text = sum(shard.text_bytes for shard in self.validation)
        return text / max(1, self.validation_tokens)


class Split:
    """The token shards of one split, memory-mapped.

    Args:
        shards: One-dimensional arrays of tokens; a window never crosses two of them.
        name: How messages call it.
    """

    def __init__(self, shards: list[Tokens], *, name: str) -> None:
        self._shards = shards
        self.name = name
        self.tokens = sum(len(shard) for shard in shards)

    def batch(self, *, seed: int, step: int, batch_size: int, length: int) -> Batch:
        """Returns random windows, the same for the same seed and step: int32 [batch, length].

        Nothing is carried from step to step, so a resumed trial goes on with the same batches.

        Raises:
            InvalidData: no shard is as long as one window.
        """
        starts, total = self._starts(length)
        rng = np.random.default_rng([seed, step])
        return self._windows(rng.integers(0, total, batch_size), starts, length)

    def fixed_windows(self, *, count: int, length: int) -> Batch:
        """Returns up to `count` evenly spaced windows: int32 [windows, length].

        Raises:
            InvalidData: no shard is as long as one window.
        """
        starts, total = self._starts(length)
        count = max(1, min(count, total))
        return self._windows(np.linspace(0, total - 1, count).astype(np.int64), starts, length)

    def _starts(self, length: int) -> tuple[npt.NDArray[np.int64], int]:
        """Returns the running count of possible window starts per shard, and their sum."""
        counts = [max(0, len(shard) - length + 1) for shard in self._shards]
        ends = np.cumsum(np.asarray(counts or [0], np.int64))
        if ends[-1] == 0:
            raise InvalidData(
                f"the {self.name} split needs a shard of at least {length} tokens", self.tokens
            )
        return ends, int(ends[-1])

    def _windows(
        self, picks: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], length: int
    ) -> Batch:
        shards = np.searchsorted(ends, picks, side="right")
        out = np.empty((len(picks), length), np.int32)
        for row, (shard, pick) in enumerate(zip(shards, picks, strict=True)):
            start = pick - (ends[shard - 1] if shard else 0)
            out[row] = self._shards[shard][start : start + length]
        return out


@dataclass(frozen=True)
class Dataset:
    """An open data set."""

    train: Split
    validation: Split
    manifest: Manifest

    def check_fits(self, *, vocab_size: int, batch_size: int, length: int) -> None:
        """Checks that a proxy of these shapes can train on this data set.

        Raises:
            InvalidData: the vocabulary is larger than the model's, or there are fewer tokens
                than one batch.
        """
        name = self.manifest.id
        if self.manifest.vocab_size > vocab_size:
            raise InvalidData(
                f"data set {name} has {self.manifest.vocab_size} tokens in its vocabulary; "
                "the proxy's vocab_size must be at least that",
                vocab_size,
            )
        if self.train.tokens < batch_size * length:
            raise InvalidData(
                f"data set {name}: the train split must hold one batch of "
                f"{batch_size} x {length} tokens",
                self.train.tokens,
            )


def default_data_folder() -> Path:
    """Returns the per-user folder of data sets."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "brainformer" / "datasets"


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
        from worker.stdlib_text import ensure_stdlib_dataset

        ensure_stdlib_dataset(root)
    place = root / dataset_id
    if place.parent != root or not (place / MANIFEST).exists():
        known = sorted({BUILT_IN, *(manifest.id for manifest in list_datasets(root))})
        raise NotFound("data set", dataset_id, known)
    manifest = read_manifest(place)
    train = [_open_shard(place, shard, manifest, verify) for shard in manifest.train]
    validation = [_open_shard(place, shard, manifest, verify) for shard in manifest.validation]
    return Dataset(Split(train, name="train"), Split(validation, name="validation"), manifest)


def read_manifest(place: Path) -> Manifest:
    """Returns the manifest in a data set's folder.

    Raises:
        InvalidData: it is unreadable, breaks a rule, or its hash is not that of its shards.
    """
    path = place / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidData(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidData(f"{path}: {where}: {first['msg']}") from None
    if manifest.hash != manifest.expected_hash():
        raise InvalidData(f"{path}: its hash is not that of the shards that it lists")
    return manifest


def content_digest(tokens: Tokens) -> str:
    """Returns the SHA-256 of the tokens as little-endian numbers of their own width."""
    contiguous = np.ascontiguousarray(tokens, tokens.dtype.newbyteorder("<"))
    return hashlib.sha256(contiguous.view(np.uint8).data).hexdigest()


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """Returns the narrowest type that holds every token."""
    for dtype in (np.uint8, np.uint16):
        if vocab_size <= np.iinfo(dtype).max + 1:
            return np.dtype(dtype)
    return np.dtype(np.uint32)


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
