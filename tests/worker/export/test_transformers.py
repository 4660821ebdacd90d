"""What transformers makes of an exported folder, in environments without this project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers

from brainformer.search.errors import InvalidExport
from brainformer.search.export.provenance import Provenance
from brainformer.worker.datasets.tokenizers import load_tokenizer
from brainformer.worker.export.model_folders import write_huggingface
from brainformer.worker.export.weighted_model import WeightedModel, weighted
from tests.worker.export.clean_environment import VERSIONS, loaded
from tests.worker.export.models import BLOCKS, PROXY, block, lively
from tests.worker.export.references import write_with_reference
from tests.worker.export.training import trained

TEXTS = [
    "def main() -> None:\n\tprint('héllo')  # Ā €",
    "a zero \x00 and <|endoftext|> are text",
    "  two spaces, 日本語, \U0001f600\n\n",
    "the quick brown fox jumps over the lazy dog",
]


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("version", VERSIONS)
def test_logits_and_text_are_ours_with_a_cache_and_without(version: str, tmp_path: Path) -> None:
    root = tmp_path / "models"
    for name in BLOCKS:
        write_with_reference(root, name.replace(" ", "-"), lively(block(name)))
    write_with_reference(root, "trained", trained())
    *found, base = loaded(version, root, cache=tmp_path / "cache")
    assert base == {"base": "BrainformerModel"}
    assert len(found) == len(BLOCKS) + 1
    for one in found:
        assert one["transformers"] == version
        assert one["difference"] < 1e-4, one
        assert [one[way] for way in ("text", "uncached", "padded", "static")] == [True] * 4, one
        assert one["distinct"] > 5, one  # a text that says one thing alone would prove little


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Returns a tokenizer of each kind, trained on a few texts."""
    folder = tmp_path_factory.mktemp("words")
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(TEXTS * 20).replace("\x00", ""))
    library = tokenizers.ByteLevelBPETokenizer()
    library.train([str(corpus)], vocab_size=300, special_tokens=["<|endoftext|>"])
    library.enable_truncation(4)
    library.save(str(folder / "tokenizer.json"))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "pieces"),
        vocab_size=56,
        character_coverage=1.0,
        minloglevel=2,
    )
    return {
        "bytes": "bytes",
        "huggingface": str(folder / "tokenizer.json"),
        "sentencepiece": str(folder / "pieces.model"),
    }


def model_of(vocab_size: int) -> WeightedModel:
    proxy = PROXY.model_copy(update={"vocab_size": vocab_size})
    small = lively(block("low rank"))
    arrays = dict(small.arrays)
    arrays["embedding"] = np.resize(arrays["embedding"], (vocab_size, 16))
    arrays["unembedding"] = np.resize(arrays["unembedding"], (16, vocab_size))
    return WeightedModel(small.genome, proxy, arrays, small.provenance)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("version", VERSIONS)
def test_tokenizers_give_the_numbers_of_training(
    version: str, words: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "models"
    for kind, name in words.items():
        write_huggingface(root / kind, model_of(400), tokenizer=name)
    (root / "texts.json").write_text(json.dumps(TEXTS))
    *found, _ = loaded(version, root, cache=tmp_path / "cache")
    assert [one["tokenizer"] for one in found] == sorted(words)
    for one in found:
        ours = load_tokenizer(words[one["tokenizer"]])
        assert one["end"] == ours.end
        assert one["numbers"] == [ours.encode(text)[:-1].tolist() for text in TEXTS], one
        if one["tokenizer"] != "sentencepiece":  # its normaliser changes white space
            assert one["texts"] == TEXTS


def test_a_tokenizer_that_does_not_fit_is_refused(words: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InvalidExport, match="numbers up to 299, the model has 256 tokens"):
        write_huggingface(tmp_path / "out", model_of(256), tokenizer=words["huggingface"])
    told = Provenance(origin="trained", tokenizer="huggingface", tokenizer_sha256="a" * 64)
    model = weighted(block("low rank"), PROXY, lively(block("low rank")).decoder(), provenance=told)
    with pytest.raises(InvalidExport, match="was trained with another tokenizer"):
        write_huggingface(tmp_path / "out", model, tokenizer="bytes")
    assert not (tmp_path / "out").exists()


def test_bytes_in_the_library_are_those_of_training(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "out", lively(block("low rank")))
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    for text in TEXTS:
        numbers = library.encode(text).ids
        assert numbers == list(text.encode())
        assert library.decode(numbers, skip_special_tokens=False) == text
