"""Tokenizers: text to token numbers; bytes, Hugging Face `tokenizers` files, SentencePiece."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from brainformer.search.errors import InvalidData

END_OF_DOCUMENT = b"\x00"
NO_END = "none"
USUAL_ENDS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "<EOS_TOKEN>",
    "<\N{FULLWIDTH VERTICAL LINE}end\N{LOWER ONE EIGHTH BLOCK}of"
    "\N{LOWER ONE EIGHTH BLOCK}sentence\N{FULLWIDTH VERTICAL LINE}>",
    "[EOS]",
    "[SEP]",
)


class Tokenizer(ABC):
    """Turns one document into token numbers.

    Attributes:
        kind: `bytes`, `huggingface` or `sentencepiece`.
        vocab_size: One more than the largest token number.
        digest: SHA-256 of the tokenizer's file; "" for bytes.
        end: The token that ends a document; None where there is none.
    """

    kind: str
    vocab_size: int
    digest: str
    end: int | None

    @abstractmethod
    def encode(self, document: str) -> npt.NDArray[np.uint32]:
        """Returns the document's tokens, with an end-of-document token where there is one."""

    @abstractmethod
    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of the tokens; bytes that are not text become U+FFFD."""

    def text_bytes(self, tokens: Iterable[int]) -> int:
        """Returns the length in UTF-8 of the text that the tokens came from."""
        return len(self.decode(token for token in tokens if token != self.end).encode("utf-8"))


class ByteTokenizer(Tokenizer):
    """One token a byte of UTF-8; a zero byte ends a document."""

    kind = "bytes"
    vocab_size = 256
    digest = ""
    end = END_OF_DOCUMENT[0]

    def encode(self, document: str) -> npt.NDArray[np.uint32]:
        """Returns the document's bytes and a zero."""
        data = document.encode("utf-8") + END_OF_DOCUMENT
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of the bytes; those that are not UTF-8 become U+FFFD."""
        return bytes(tokens).decode("utf-8", errors="replace")


class HuggingFaceTokenizer(Tokenizer):
    """A `tokenizer.json` of the Hugging Face `tokenizers` library.

    Truncation and padding are settings of inference that the file may have been saved with: a
    document is stored whole. Text that looks like a control token is text.
    """

    kind = "huggingface"

    def __init__(self, path: Path, end_token: str | None = None) -> None:
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
        self.end = _end_number(path, self._library.token_to_id, end_token, _stated_ends(path))
        if self.end is not None:  # a control token from here on, whatever the file calls it
            self._library.add_special_tokens([self._library.id_to_token(self.end)])

    def encode(self, document: str) -> npt.NDArray[np.uint32]:
        """Returns the document's tokens.

        Raises:
            InvalidData: the tokenizer has no token for a part of it.
        """
        try:
            tokens = list(self._library.encode(document, add_special_tokens=False).ids)
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise _unencodable(document, error) from None
        return _ended(tokens, self.end, document)

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of the tokens, control tokens as they are spelled."""
        text: str = self._library.decode([int(one) for one in tokens], skip_special_tokens=False)
        return text

    def to_json(self) -> str:
        """Returns the tokenizer as JSON, without truncation and padding."""
        return str(self._library.to_str())

    def token(self, number: int) -> str:
        """Returns how the token of that number is written."""
        return str(self._library.id_to_token(number))


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model file."""

    kind = "sentencepiece"

    def __init__(self, path: Path, end_token: str | None = None) -> None:
        import sentencepiece

        data = _read(path)
        try:
            self._library = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise InvalidData(f"{path} is not a SentencePiece model: {error}") from None
        self.vocab_size = int(self._library.vocab_size())
        self.digest = hashlib.sha256(data).hexdigest()
        own = int(self._library.eos_id())
        stated = [self._library.id_to_piece(own)] if own >= 0 else []
        self.end = _end_number(path, self._number, end_token, stated)

    def _number(self, piece: str) -> int | None:
        number = int(self._library.piece_to_id(piece))
        return number if self._library.id_to_piece(number) == piece else None

    def encode(self, document: str) -> npt.NDArray[np.uint32]:
        """Returns the document's tokens.

        Raises:
            InvalidData: the tokenizer refuses it.
        """
        try:
            tokens = list(self._library.encode(document))
        except RuntimeError as error:
            raise _unencodable(document, error) from None
        return _ended(tokens, self.end, document)

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of the tokens; control tokens have none."""
        text: str = self._library.decode([int(one) for one in tokens])
        return text

    def token(self, number: int) -> str:
        """Returns how the token of that number is written."""
        return str(self._library.id_to_piece(number))


def load_tokenizer(name: str, end_token: str | None = None) -> Tokenizer:
    """Returns the tokenizer: "bytes", a `.json` of tokenizers or a `.model` of SentencePiece.

    Args:
        name: "bytes", or the file's path.
        end_token: What ends a document, as the tokenizer spells it; "none" lets documents run
            together. By default what the tokenizer or the files beside it state, or a usual name.

    Raises:
        InvalidData: the file is missing, unreadable or of neither kind, or what ends a document
            is not known.
    """
    if name == "bytes":
        if end_token is not None:
            raise InvalidData("with bytes a zero byte ends a document; leave out --end-token")
        return ByteTokenizer()
    path = Path(name)
    if path.suffix == ".json":
        return HuggingFaceTokenizer(path, end_token)
    if path.suffix == ".model":
        return SentencePieceTokenizer(path, end_token)
    raise InvalidData("a tokenizer is 'bytes', a tokenizers .json or a SentencePiece .model", name)


def _end_number(
    path: Path,
    number_of: Callable[[str], int | None],
    wanted: str | None,
    stated: Sequence[str],
) -> int | None:
    """Returns the token that ends a document; None if none is wanted."""
    if wanted == NO_END:
        return None
    if wanted is not None:
        number = number_of(wanted)
        if number is None:
            raise InvalidData(f"{path} has no token of that name to end a document", wanted)
        return number
    known = (number_of(name) for name in (*stated, *USUAL_ENDS))
    found = next((number for number in known if number is not None), None)
    if found is None:
        raise InvalidData(
            f"{path} does not tell which token ends a document; name it with --end-token, or let "
            f"documents run together with --end-token {NO_END}"
        )
    return found


def _stated_ends(path: Path) -> list[str]:
    """Returns what the files that models are published with, beside the tokenizer's, call it."""
    found = []
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            stated = json.loads((path.parent / name).read_text("utf-8"))["eos_token"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
        token = stated.get("content") if isinstance(stated, dict) else stated
        if isinstance(token, str):
            found.append(token)
    return found


def _ended(tokens: list[int], end: int | None, document: str) -> npt.NDArray[np.uint32]:
    """Returns a document's tokens with its end; no text may look like one."""
    if end is None:
        return np.asarray(tokens, np.uint32)
    if end in tokens:
        raise InvalidData(
            "a document's text holds the token that ends documents; choose another --end-token",
            f"{document[:40]} ...",
        )
    return np.asarray([*tokens, end], np.uint32)


def _unencodable(document: str, error: Exception) -> InvalidData:
    why = str(error).partition("\n")[0]
    return InvalidData(f"the tokenizer refuses a document: {why}", f"{document[:40]} ...")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidData(f"cannot read the tokenizer {path}: {error.strerror}") from None
