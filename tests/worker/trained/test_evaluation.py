"""Scores of whole splits: every token once, documents told apart, an error that is one."""

import math

import numpy as np
import pytest

from brainformer.model.decoder import cross_entropy
from brainformer.search.errors import InvalidCheckpoint, InvalidData
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.datasets.dataset import Dataset, Split
from brainformer.worker.datasets.tokenizers import load_tokenizer
from brainformer.worker.export.weighted_model import initialised
from brainformer.worker.trained.evaluation import Evaluator, _Documents, bootstrap_error
from brainformer.worker.trained.trained_model import TrainedModel
from tests.worker.leases import GENOME, PROXY

LENGTH = PROXY.sequence_length


@pytest.fixture(scope="module")
def data(data_folder):
    return open_dataset("modules", data_folder)


@pytest.fixture(scope="module")
def decoder():
    return initialised(GENOME, PROXY, seed=1).decoder()


def losses_one_by_one(decoder, tokens):
    """Returns the loss of every token but the first, a window at a time, nothing padded."""
    found = []
    for start in range(0, len(tokens) - 1, LENGTH):
        row = np.asarray(tokens[start : start + LENGTH + 1], np.int32)[None]
        logits, _ = decoder.flat_logits(row[:, :-1], training=False)
        found.append(np.asarray(cross_entropy(logits, row[0, 1:])))
    return np.concatenate(found)


@pytest.mark.slow
def test_a_score_is_the_mean_over_every_token_once(decoder, data):
    shards = [np.asarray(data.validation._shards[0][:403]), np.asarray(data.test._shards[0][:50])]
    small = Dataset(data.train, Split(shards, name="validation"), None, data.manifest)
    evaluator = Evaluator(decoder, length=LENGTH, batch_size=3)
    score = evaluator.score(small, "validation", tokenizer=None)
    direct = np.concatenate([losses_one_by_one(decoder, shard) for shard in shards])
    assert score.tokens == len(direct) == 402 + 49
    assert score.loss == pytest.approx(float(np.mean(direct, dtype=np.float64)), rel=1e-5)
    assert score.bits_per_byte == pytest.approx(score.loss / math.log(2))


def test_a_split_is_scored_by_its_documents(decoder, data):
    evaluator = Evaluator(decoder, length=LENGTH, batch_size=32)
    score = evaluator.score(data, "test", tokenizer=load_tokenizer("bytes"))
    tokens = np.concatenate([np.asarray(shard) for shard in data.test._shards])
    documents = int((tokens == 0).sum())
    assert score.unit == ("document" if documents >= 20 else "block")
    assert score.standard_error > 0
    some = evaluator.score(data, "test", tokenizer=None, most_tokens=score.tokens // 4)
    assert some.tokens == pytest.approx(score.tokens / 4, rel=0.1)
    assert some.bits_per_byte == pytest.approx(score.bits_per_byte, abs=0.1)


def test_windows_that_are_passed_over_make_no_further_documents(decoder, data):
    """A document that is seen here and there is one unit: its tokens are not independent."""
    text = np.tile(np.arange(1, 128, dtype=np.uint8), 100)
    few = Dataset(data.train, Split([text], name="validation"), None, data.manifest)
    ended = text.copy()
    ended[399::400] = 0
    many = Dataset(data.train, Split([ended], name="validation"), None, data.manifest)
    evaluator = Evaluator(decoder, length=LENGTH, batch_size=32)

    score = evaluator.score(few, "validation", tokenizer=None, most_tokens=len(text) // 4)
    assert (score.unit, score.units) == ("block", math.ceil(score.tokens / LENGTH / 8))
    score = evaluator.score(many, "validation", tokenizer=None, most_tokens=len(text) // 4)
    documents = len(text) / 400
    assert score.unit == "document"
    assert documents / 2 < score.units <= documents + 1


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 64])
def test_documents_are_told_apart_whatever_the_windows_cut(length):
    rng = np.random.default_rng(length)
    shard = np.where(rng.random(300) < 0.15, 0, rng.integers(1, 9, 300)).astype(np.uint8)
    truth = np.cumsum(shard == 0) - (shard == 0)  # ends before each token
    told, numbers = {}, _Documents(0)
    for number, (_, tokens) in enumerate(Split([shard], name="train").in_order(length)):
        for document, piece in numbers.pieces(0, tokens):
            for index in range(*piece.indices(len(tokens) - 1)):
                told[number * length + index + 1] = document
    assert sorted(told) == list(range(1, 300))
    first = {}
    assert all(first.setdefault(truth[at], told[at]) == told[at] for at in sorted(told))
    assert len(set(first.values())) == len(first)


def test_the_error_is_that_of_drawing_documents_again():
    rng = np.random.default_rng(0)
    found = []
    truth = []
    for seed in range(200):
        sizes = rng.integers(50, 500, 60).astype(float)
        nats = sizes * rng.normal(1.4, 0.3, 60)
        truth.append(nats.sum() / sizes.sum() / math.log(2))
        found.append(bootstrap_error(nats, sizes, seed=seed))
    assert np.mean(found) == pytest.approx(np.std(truth, ddof=1), rel=0.12)
    assert bootstrap_error(np.ones(1), np.ones(1)) is None


def test_tokens_of_one_document_are_not_taken_for_independent():
    """Forty documents of a thousand tokens each say what forty draws say, not forty thousand."""
    rng = np.random.default_rng(1)
    by_document = rng.normal(1.4, 0.3, 40)
    error = bootstrap_error(1000 * by_document, np.full(40, 1000.0))
    assert error == pytest.approx(0.3 / math.sqrt(40) / math.log(2), rel=0.3)


def test_subwords_are_counted_in_bytes_of_text(subwords):
    data = open_dataset("modules", subwords.data_folder)
    proxy = PROXY.model_copy(update={"vocab_size": data.manifest.vocab_size})
    decoder = initialised(GENOME, proxy).decoder()
    words = load_tokenizer(str(subwords.file))
    evaluator = Evaluator(decoder, length=LENGTH, batch_size=32)
    score = evaluator.score(data, "validation", tokenizer=words)
    per_token = data.manifest.bytes_per_token
    assert per_token > 1.2
    assert score.bits_per_byte == pytest.approx(score.loss / math.log(2) / per_token)
    without = evaluator.score(data, "validation", tokenizer=None)
    assert without.bits_per_byte == pytest.approx(score.bits_per_byte)


def test_a_split_that_is_not_there_is_named(decoder, data):
    small = Dataset(data.train, data.validation, None, data.manifest)
    with pytest.raises(InvalidData, match="without a test split"):
        Evaluator(decoder, length=LENGTH, batch_size=4).score(small, "test", tokenizer=None)


def test_data_of_another_tokenizer_is_not_read(tmp_path, subwords, data):
    model = initialised(GENOME, PROXY)
    told = model.provenance.model_copy(update={"tokenizer": "bytes", "origin": "trained"})
    found = TrainedModel(tmp_path, type(model)(model.genome, model.proxy, model.arrays, told))
    found.check_reads(data)
    with pytest.raises(InvalidCheckpoint, match="another tokenizer"):
        found.check_reads(open_dataset("modules", subwords.data_folder))
    narrow = PROXY.model_copy(update={"vocab_size": 100})
    with pytest.raises(InvalidCheckpoint, match="256 tokens in its vocabulary"):
        TrainedModel(tmp_path, initialised(GENOME, narrow)).check_reads(data)
