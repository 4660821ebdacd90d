"""How a tokenizer ends documents, and what it does with text that it cannot take."""

import json

import pytest

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.tokenizers import load_tokenizer

TEXT = ["so it goes, again and again"] * 20


def word_level(path, *words, unknown="[UNK]"):
    from tokenizers import Tokenizer, models, pre_tokenizers

    numbers = {word: number for number, word in enumerate(words)}
    library = Tokenizer(models.WordLevel(numbers, unk_token=unknown))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.save(str(path))
    return str(path)


@pytest.mark.parametrize("end", ["<|end_of_text|>", "<|endoftext|>", "<eos>", "</s>", "[SEP]"])
def test_a_document_ends_with_the_tokenizers_own_token(end, tmp_path):
    name = word_level(tmp_path / "tokenizer.json", "[UNK]", "and", end)
    assert list(load_tokenizer(name).encode("and and")) == [1, 1, 2]


@pytest.mark.parametrize("stated", ["<stop>", {"content": "<stop>", "lstrip": False}])
@pytest.mark.parametrize("beside", ["tokenizer_config.json", "special_tokens_map.json"])
def test_what_is_published_beside_a_tokenizer_names_its_end(stated, beside, tmp_path):
    name = word_level(tmp_path / "tokenizer.json", "[UNK]", "<stop>", "</s>")
    (tmp_path / beside).write_text(json.dumps({"eos_token": stated}))
    assert list(load_tokenizer(name).encode("")) == [1]


def test_documents_run_together_only_on_request(tmp_path):
    name = word_level(tmp_path / "tokenizer.json", "[UNK]", "and")
    with pytest.raises(InvalidData, match=r"--end-token none"):
        load_tokenizer(name)
    assert list(load_tokenizer(name, "none").encode("and")) == [1]
    assert list(load_tokenizer(name, "and").encode("")) == [1]
    with pytest.raises(InvalidData, match="no token of that name"):
        load_tokenizer(name, "<stop>")
    with pytest.raises(InvalidData, match="a zero byte ends a document"):
        load_tokenizer("bytes", "<stop>")


def test_text_is_never_taken_for_the_end_of_a_document(tmp_path):
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet)
    )
    library.add_tokens([AddedToken("<stop>", special=False)])
    library.save(str(tmp_path / "tokenizer.json"))
    tokens = load_tokenizer(str(tmp_path / "tokenizer.json"), "<stop>").encode("<stop> <stop>")
    end = library.token_to_id("<stop>")
    assert list(tokens).count(end) == 1
    assert tokens[-1] == end
    words = word_level(tmp_path / "words.json", "[UNK]", "and")
    with pytest.raises(InvalidData, match="holds the token that ends documents"):
        load_tokenizer(words, "and").encode("and")


def test_a_document_that_the_tokenizer_refuses_is_shown(tmp_path):
    name = word_level(tmp_path / "tokenizer.json", "and", "</s>", unknown="[UNK]")
    with pytest.raises(InvalidData, match=r"refuses a document: .*strange"):
        load_tokenizer(name).encode("and strange")
