"""Fixtures: a small data set of real text, in bytes and in the tokens of a tokenizer."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.worker.pretraining.runs import modules, prepared


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data"))


class Subwords(NamedTuple):
    """The same text in the tokens of a trained tokenizer."""

    data_folder: Path
    file: Path


@pytest.fixture(scope="session")
def subwords(tmp_path_factory: pytest.TempPathFactory) -> Subwords:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    library.train_from_iterator([one.read_text("utf-8") for one in modules()[:6]], trainer)
    place = tmp_path_factory.mktemp("subwords")
    file = place / "mine.json"
    library.save(str(file))
    return Subwords(prepared(place / "data", tokenizer=str(file)), file)
