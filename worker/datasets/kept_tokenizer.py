"""The tokenizer that a folder keeps beside what was made with it."""

from __future__ import annotations

from pathlib import Path

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.tokenizers import ByteTokenizer, Tokenizer, load_tokenizer

FILES = {"huggingface": "tokenizer.json", "sentencepiece": "tokenizer.model"}


def keep_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Writes the tokenizer's file into the folder; bytes have none."""
    if tokenizer.file:
        (folder / FILES[tokenizer.kind]).write_bytes(tokenizer.file)


def kept_tokenizer(
    folder: Path | None, *, kind: str, digest: str, end_token: str | None
) -> Tokenizer | None:
    """Returns the tokenizer that a folder keeps; None if an older version kept none.

    Args:
        folder: Of a data set or a checkpoint; None for none.
        kind: `bytes`, `huggingface` or `sentencepiece`.
        digest: SHA-256 of its file.
        end_token: See `load_tokenizer`.

    Raises:
        InvalidData: the file is another one.
    """
    if kind == "bytes":
        return ByteTokenizer()
    if folder is None or not (folder / FILES[kind]).is_file():
        return None
    path = folder / FILES[kind]
    found = load_tokenizer(str(path), end_token)
    if found.digest != digest:
        raise InvalidData(f"{path} is not the tokenizer that this was made with; prepare it again")
    return found
