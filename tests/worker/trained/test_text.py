"""Text from a model: the likeliest or drawn, the same for the same seed, whole characters."""

import jax.numpy as jnp
import numpy as np
import pytest

from brainformer.search.errors import InvalidGenome, InvalidInput
from brainformer.worker.datasets.tokenizers import ByteTokenizer, load_tokenizer
from brainformer.worker.export.model_folders import write_weights
from brainformer.worker.export.weighted_model import WeightedModel, initialised
from brainformer.worker.harness.language_model import LanguageModel
from brainformer.worker.trained.text import Sampling, Writer, _draw
from tests.worker.export.models import PROXY, block, lively

GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def model():
    return lively(block("expert choice"))


@pytest.fixture(scope="module")
def writer(model):
    return Writer(model.decoder(), ByteTokenizer(), length=PROXY.sequence_length)


def test_greedy_text_is_what_the_harness_goes_on_with(model, writer, tmp_path):
    write_weights(tmp_path / "model", model)
    harness = LanguageModel(tmp_path / "model", tokenizer="bytes", batch_size=1)
    prompt = list(b"import os")
    (told,) = harness.continue_greedily([prompt], 40)
    ours = list(writer.tokens(prompt, GREEDY, most=40))
    ended = told.index(0) + 1 if 0 in told else len(told)
    assert ours == told[:ended]
    assert len(ours) > 5


def test_the_same_seed_gives_the_same_text_and_another_one_another(writer):
    drawn = [
        list(writer.tokens(list(b"def "), Sampling(temperature=1.0, seed=seed), most=30))
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_token_is_drawn_afresh(writer):
    """So hot that the model does not matter, thirty draws are nearly thirty different tokens."""
    hot = Sampling(temperature=100.0, top_p=1.0, seed=5)
    told = [one for one in writer.tokens(list(b"def "), hot, most=30) if one]
    assert len(set(told)) > 0.7 * len(told)
    assert len(told) > 5


def test_next_to_no_temperature_or_nucleus_is_greedy(writer):
    greedy = list(writer.tokens(list(b"def "), GREEDY, most=20))
    for sampling in (Sampling(temperature=1e-6), Sampling(temperature=1.0, top_p=1e-9)):
        assert list(writer.tokens(list(b"def "), sampling, most=20)) == greedy


def test_only_the_nucleus_is_drawn_from_and_in_its_proportions():
    import jax

    chances = np.array([0.1, 0.5, 0.05, 0.3, 0.05])
    logits = jnp.log(jnp.asarray(chances, jnp.float32))
    one, top_p = jnp.float32(1.0), jnp.float32(0.75)
    drawn = [int(_draw(logits, jax.random.key(i), one, top_p, 5)) for i in range(600)]
    assert set(drawn) == {1, 3}  # 0.5 alone is not 0.75 yet
    assert np.mean(np.array(drawn) == 1) == pytest.approx(0.5 / 0.8, abs=0.06)
    some = [int(_draw(logits, jax.random.key(i), one, jnp.float32(1.0), 3)) for i in range(300)]
    assert set(some) == {0, 1, 2}  # never one that the tokenizer does not have


def test_text_goes_on_beyond_the_length_that_the_model_reads(writer):
    most = 3 * PROXY.sequence_length
    told = list(writer.tokens(list(b"x" * 200), Sampling(temperature=1.0, seed=3), most=most))
    assert len(told) == most or told[-1] == 0


class Scripted(Writer):
    """Writes what it is told to."""

    def __init__(self, tokenizer, script):
        self._tokenizer, self._script = tokenizer, script

    def tokens(self, prompt, sampling, *, most):
        yield from self._script[:most]


def test_characters_come_whole():
    text = "naïve \N{SNOWMAN} \N{PILE OF POO}!"
    pieces = list(Scripted(ByteTokenizer(), list(text.encode())).text("a", GREEDY, most=99))
    assert "".join(pieces) == text
    assert len([one for one in pieces if one]) == len(text)
    cut = list(Scripted(ByteTokenizer(), list(text.encode())).text("a", GREEDY, most=3))
    assert "".join(cut) == "na\N{REPLACEMENT CHARACTER}"  # the last byte is of a character


def test_the_end_of_a_document_ends_the_text():
    script = [*b"one", 0, *b"two"]
    assert "".join(Scripted(ByteTokenizer(), script).text("", GREEDY, most=99)) == "one"


def test_words_keep_their_spaces(subwords):
    words = load_tokenizer(str(subwords.file))
    script = words.encode(" import json as données\n")[:-1].tolist()
    assert (
        "".join(Scripted(words, script).text("x", GREEDY, most=99)) == " import json as données\n"
    )


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}])
def test_what_is_no_way_to_draw_is_refused(wrong):
    with pytest.raises(InvalidInput, match=r"temperature|top-p"):
        Sampling(**wrong)


def test_the_papers_leaking_rule_cannot_write():
    proxy = PROXY.model_copy(update={"routing": "paper"})
    model = initialised(block("expert choice"), proxy)
    assert isinstance(model, WeightedModel)
    with pytest.raises(InvalidGenome, match="routing: causal"):
        Writer(model.decoder(), ByteTokenizer(), length=8)
