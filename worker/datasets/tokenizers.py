"""Tokenizers: text to token numbers; bytes, Hugging Face `tokenizers` files, SentencePiece."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from brainformer.search.errors import InvalidData

END_OF_DOCUMENT = b"\x00"


class Tokenizer(ABC):
    """Turns one document into token numbers.

    Attributes:
        kind: `bytes`, `huggingface` or `sentencepiece`.
        vocab_size: One more than the largest token number.
        digest: SHA-256 of the tokenizer's file; "" for bytes.
    """

    kind: str
    vocab_size: int
    digest: str

    @abstractmethod
    def encode(self, document: str) -> npt.NDArray[np.uint32]:
        """Returns the document's tokens, with an end-of-document token where there is one."""

    @property
    @abstractmethod
    def end(self) -> int | None:
        """The number of the token that ends a document; None where there is none."""


class ByteTokenizer(Tokenizer):
    """One token a byte of UTF-8; a zero byte ends a document."""

    kind = "bytes"
    vocab_size = 256
    digest = ""

    def encode(self, document: str) -> npt.NDArray[np.uint32]:
        """Returns the document's bytes and a zero."""
        data = document.encode("utf-8") + END_OF_DOCUMENT
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    @property
    def end(self) -> int:
        """The zero byte."""
        return END_OF_DOCUMENT[0]


class HuggingFaceTokenizer(Tokenizer):
    """A `tokenizer.json` of the Hugging Face `tokenizers` library.

    Truncation and padding are settings of inference that the file may have been saved with: a
    document is stored whole. Text that looks like a control token is text.
    """

    kind = "huggingface"

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as Library

        data = _read(path)
        try:
            self._library = Library.from_buffer(data)
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise InvalidData(f"{path} is not a tokenizers file: {error}") from None
        self._library.no_truncation()
        self._library.no_padding()
        self._library.encode_special_tokens = True
        numbers = self._library.get_vocab(with_added_tokens=True).values()
        if not numbers:
            raise InvalidData(f"{path} holds no tokens; give a trained tokenizer")
        # Numbers may have gaps, so their count says nothing of the largest one.
        self.vocab_size = max(numbers) + 1
        self.digest = hashlib.sha256(data).hexdigest()
        names = ("<|endoftext|>", "</s>", "<eos>", "[SEP]")
        ids = (self._library.token_to_id(name) for name in names)
        self._end = next((number for number in ids if number is not None), None)

    def encode(self, document: str) -> npt.NDArray[np.uint32]:
        """Returns the document's tokens."""
        tokens = list(self._library.encode(document, add_special_tokens=False).ids)
        if self._end is not None:
            tokens.append(self._end)
        return np.asarray(tokens, np.uint32)

    @property
    def end(self) -> int | None:
        """The first of the usual end tokens that the file has."""
        return self._end

    def to_json(self) -> str:
        """Returns the tokenizer as JSON, without truncation and padding."""
        return str(self._library.to_str())

    def token(self, number: int) -> str:
        """Returns how the token of that number is written."""
        return str(self._library.id_to_token(number))


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model file."""

    kind = "sentencepiece"

    def __init__(self, path: Path) -> None:
        import sentencepiece

        data = _read(path)
        try:
            self._library = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise InvalidData(f"{path} is not a SentencePiece model: {error}") from None
        self.vocab_size = int(self._library.vocab_size())
        self.digest = hashlib.sha256(data).hexdigest()
        self._end = int(self._library.eos_id())

    def encode(self, document: str) -> npt.NDArray[np.uint32]:
        """Returns the document's tokens."""
        tokens = list(self._library.encode(document))
        if self._end >= 0:
            tokens.append(self._end)
        return np.asarray(tokens, np.uint32)

    @property
    def end(self) -> int | None:
        """The model's own end of sentence."""
        return self._end if self._end >= 0 else None

    def token(self, number: int) -> str:
        """Returns how the token of that number is written."""
        return str(self._library.id_to_piece(number))


def load_tokenizer(name: str) -> Tokenizer:
    """Returns the tokenizer: "bytes", a `.json` of tokenizers or a `.model` of SentencePiece.

    Raises:
        InvalidData: the file is missing, unreadable or of neither kind.
    """
    if name == "bytes":
        return ByteTokenizer()
    path = Path(name)
    if path.suffix == ".json":
        return HuggingFaceTokenizer(path)
    if path.suffix == ".model":
        return SentencePieceTokenizer(path)
    raise InvalidData("a tokenizer is 'bytes', a tokenizers .json or a SentencePiece .model", name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidData(f"cannot read the tokenizer {path}: {error.strerror}") from None
