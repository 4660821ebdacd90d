"""The manifest of a data set: its shards, their contents' hashes, one hash over all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainformer.search.errors import InvalidData, placed
from brainformer.search.proxy.proxy import Name
from brainformer.search.user_folders import cache_folder
from brainformer.search.validation import first_problem

MANIFEST = "manifest.json"
Tokens = npt.NDArray[np.unsignedinteger]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ShardName = Annotated[str, Field(pattern=r"^[a-z]+-[0-9]{5}\.npy$")]


def default_data_folder() -> Path:
    """Returns the per-user folder of data sets."""
    return cache_folder("--data-folder (data commands: --folder)") / "datasets"


class Shard(BaseModel):
    """One file of tokens; `text_bytes` is the UTF-8 length of the text that it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: ShardName
    tokens: Annotated[int, Field(ge=0)]
    text_bytes: Annotated[int, Field(ge=0)]
    sha256: Digest


class Overlap(BaseModel):
    """What was left out of held-out splits because it stands in training (or in validation).

    Attributes:
        passage_tokens: Length of the passages that were compared.
        validation_tokens: Left out of the validation split.
        test_tokens: Left out of the test split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    passage_tokens: Annotated[int, Field(ge=1)]
    validation_tokens: Annotated[int, Field(ge=0)]
    test_tokens: Annotated[int, Field(ge=0)]


def _is_none(value: object) -> bool:
    return value is None


class Manifest(BaseModel):
    """What a data set holds.

    Version 1 had no test split and did not compare its splits.

    Attributes:
        end_token: What ends a document, as the tokenizer spells it, or `none`; left out for bytes
            and where an older version wrote the data set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1, 2] = 2
    id: Name
    tokenizer: Literal["bytes", "huggingface", "sentencepiece"]
    tokenizer_sha256: str = ""
    end_token: Annotated[str | None, Field(exclude_if=_is_none)] = None
    vocab_size: Annotated[int, Field(ge=1)]
    documents: Annotated[int, Field(ge=0)]
    train: tuple[Shard, ...]
    validation: tuple[Shard, ...]
    test: tuple[Shard, ...] = ()
    overlap: Overlap | None = None
    hash: Digest

    def expected_hash(self) -> str:
        """Returns the hash over the tokenizer and the shards' contents, in order."""
        parts = [self.tokenizer, self.tokenizer_sha256, str(self.vocab_size)]
        parts += [f"train:{shard.sha256}" for shard in self.train]
        parts += [f"validation:{shard.sha256}" for shard in self.validation]
        parts += [f"test:{shard.sha256}" for shard in self.test]
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
    def test_tokens(self) -> int:
        """Tokens that no search reads."""
        return sum(shard.tokens for shard in self.test)

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes a token over the validation split; 1 for byte tokens."""
        text = sum(shard.text_bytes for shard in self.validation)
        return text / max(1, self.validation_tokens)


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
        first = first_problem(error)
        raise InvalidData(f"{path}: {placed(first.rule, first.pointer)}") from None
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
