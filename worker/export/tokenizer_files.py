"""The tokenizer of an exported folder: one that turns text into the numbers that training saw.

Training stores documents whole, adds no token but the one that ends a document, and takes text that
looks like a control token for text. The files say so too: without truncation, padding or a template
of special tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainformer.search.errors import InvalidExport
from brainformer.search.export.provenance import Provenance
from brainformer.worker.datasets.kept_tokenizer import FILES
from brainformer.worker.datasets.stdlib_text import BUILT_IN
from brainformer.worker.datasets.tokenizers import (
    HuggingFaceTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    load_tokenizer,
)

FAST_CLASS = "PreTrainedTokenizerFast"
SENTENCEPIECE_CODE = "tokenization_brainformer.py"
SENTENCEPIECE_FILE = FILES["sentencepiece"]
# A zero byte ends a document and may stand in one; as a token it is the character itself.
END = "\x00"


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder needs of its tokenizer.

    Attributes:
        kind: `bytes`, `huggingface` or `sentencepiece`.
        sha256: Of the tokenizer's file; "" for bytes.
        end: Number of the token that ends a document, None where there is none.
        texts: Files to write, by name.
        binaries: The same, of bytes.
    """

    kind: str
    sha256: str
    end: int | None
    texts: dict[str, str]
    binaries: dict[str, bytes]


def default_tokenizer(told: Provenance) -> str:
    """Returns "bytes" where the data or the weights say so.

    Raises:
        InvalidExport: they were made with a tokenizer's file, or nobody knows.
    """
    known = told.tokenizer or ("bytes" if told.dataset == BUILT_IN else None)
    if known != "bytes":
        which = f"with {told.tokenizer}" if told.tokenizer else "on another machine"
        raise InvalidExport(
            f"the data set {told.dataset} was prepared {which}; give its tokenizer with "
            "--tokenizer: bytes, or the .json or .model file"
        )
    return known


def tokenizer_files(name: str, *, vocab_size: int) -> TokenizerFiles:
    """Returns the files of a tokenizer for a model of this vocabulary.

    Args:
        name: "bytes", a tokenizers .json or a SentencePiece .model.
        vocab_size: Of the model.

    Raises:
        InvalidData: the file is missing or is not a tokenizer.
        InvalidExport: it has more tokens than the model.
    """
    tokenizer = load_tokenizer(name)
    if tokenizer.vocab_size > vocab_size:
        raise InvalidExport(
            f"the tokenizer {name} has numbers up to {tokenizer.vocab_size - 1}, the model has "
            f"{vocab_size} tokens; give the tokenizer that it was trained with"
        )
    if isinstance(tokenizer, HuggingFaceTokenizer):
        return _of_tokenizers(tokenizer)
    if isinstance(tokenizer, SentencePieceTokenizer):
        return _of_sentencepiece(tokenizer, Path(name))
    return _of_bytes(tokenizer)


def _of_bytes(tokenizer: Tokenizer) -> TokenizerFiles:
    """Returns a byte-level model without merges: a token a byte, numbered by its value."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Library

    vocabulary = {symbol: byte for byte, symbol in enumerate(_byte_symbols()) if byte}
    vocabulary[END] = 0  # taken out of the text before its bytes are looked at
    library = Library(models.BPE(vocabulary, merges=[]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return _fast(tokenizer, library.to_str(), end=0, end_token=END)


def _of_tokenizers(tokenizer: HuggingFaceTokenizer) -> TokenizerFiles:
    """Returns the file as training used it, less the settings of inference."""
    end = tokenizer.end
    data = json.loads(tokenizer.to_json())
    data["post_processor"] = None
    end_token = None if end is None else tokenizer.token(end)
    return _fast(tokenizer, json.dumps(data, ensure_ascii=False), end=end, end_token=end_token)


def _of_sentencepiece(tokenizer: SentencePieceTokenizer, path: Path) -> TokenizerFiles:
    """Returns the model file as it is, and the class that reads it."""
    from importlib.resources import files

    code = files("brainformer.worker.export") / "templates" / SENTENCEPIECE_CODE
    module = SENTENCEPIECE_CODE.removesuffix(".py")
    end = tokenizer.end
    settings = {
        "tokenizer_class": "BrainformerTokenizer",
        "auto_map": {"AutoTokenizer": [f"{module}.BrainformerTokenizer", None]},
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        **({} if end is None else {"eos_token": tokenizer.token(end)}),
    }
    return TokenizerFiles(
        kind=tokenizer.kind,
        sha256=tokenizer.digest,
        end=end,
        texts={
            "tokenizer_config.json": _json(settings),
            SENTENCEPIECE_CODE: code.read_text("utf-8"),
        },
        binaries={SENTENCEPIECE_FILE: path.read_bytes()},
    )


def _fast(
    tokenizer: Tokenizer, text: str, *, end: int | None, end_token: str | None
) -> TokenizerFiles:
    settings: dict[str, Any] = {
        "tokenizer_class": FAST_CLASS,
        "clean_up_tokenization_spaces": False,
        # For bytes the end is a character of its own, which text may hold.
        "split_special_tokens": tokenizer.kind != "bytes",
    }
    if end_token is not None:
        settings["eos_token"] = end_token
    return TokenizerFiles(
        kind=tokenizer.kind,
        sha256=tokenizer.digest,
        end=end,
        texts={"tokenizer.json": text, "tokenizer_config.json": _json(settings)},
        binaries={},
    )


def _byte_symbols() -> list[str]:
    """Returns the character that a byte-level tokenizer writes each byte as, by value.

    Bytes that print stand for themselves, the others follow from 256 on (GPT-2's table).
    """
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
