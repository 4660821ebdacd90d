from dataclasses import replace

import numpy as np
import pytest

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.training.evaluation import ValidationSet, bits_per_byte, prefix_move
from tests.worker.leases import PROXY


@pytest.fixture(scope="module")
def data():
    return open_dataset("python-stdlib", verify=False)


def windows(data, tokens):
    return ValidationSet(data, PROXY.model_copy(update={"validation_tokens": tokens}))


def test_the_validation_set_is_the_same_for_every_trial(data):
    one, other = windows(data, 4096), windows(data, 4096)
    assert len(one.batches) == 4096 // (8 * 16)
    assert all(np.array_equal(a, b) for a, b in zip(one.batches, other.batches, strict=True))


def test_a_sketch_takes_every_fourth_batch_and_the_end_takes_all(data):
    validation = windows(data, 4096)
    seen = []

    def evaluate(batch):
        seen.append(batch)
        return np.full((8, 16), float(len(seen)))

    assert validation.loss(evaluate, sketch=True) == pytest.approx(np.mean(range(1, 9)))
    assert [id(batch) for batch in seen] == [id(batch) for batch in validation.batches[::4]]
    seen.clear()
    validation.loss(evaluate)
    assert len(seen) == 32


def test_a_small_set_is_always_taken_whole(data):
    validation = windows(data, 15 * 8 * 16)
    seen = []
    validation.loss(lambda batch: seen.append(batch) or np.zeros(1), sketch=True)
    assert len(seen) == 15


def test_a_prefix_that_moves_is_noticed_and_a_causal_one_does_not(data):
    tokens = windows(data, 4096).batches[0]
    causal = lambda batch: np.cumsum(batch[:, 1:], axis=1) / 1e3  # noqa: E731
    leaking = lambda batch: causal(batch) + batch[:, -1:]  # noqa: E731
    assert prefix_move(causal, tokens, vocab_size=256) == 0.0
    assert prefix_move(leaking, tokens, vocab_size=256) > 1.0


def test_bits_per_byte_do_not_depend_on_the_tokenizer():
    assert bits_per_byte(np.log(2) * 8, 1.0) == pytest.approx(8.0)
    assert bits_per_byte(np.log(2) * 8, 4.0) == pytest.approx(2.0)


def test_a_promotion_is_judged_on_the_test_split(data):
    proxy = PROXY.model_copy(update={"evaluation_split": "test"})
    found = ValidationSet(data, proxy).batches
    assert not np.array_equal(found[0], ValidationSet(data, PROXY).batches[0])
    first = data.test.fixed_windows(count=len(found) * 8, length=17)[:8]
    assert np.array_equal(found[0], first)


def test_data_without_a_test_split_cannot_judge_a_promotion(data):
    proxy = PROXY.model_copy(update={"evaluation_split": "test"})
    with pytest.raises(InvalidData, match="has no test split, which a promotion is judged by"):
        ValidationSet(replace(data, test=None), proxy)
