"""Texts scored and continued by an exported model, against the model itself."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainformer.model.decoder import next_token_loss
from brainformer.model.generation import generate
from brainformer.search.errors import InvalidExport, NotFound
from brainformer.worker.export.model_folders import write_huggingface, write_weights
from brainformer.worker.harness.language_model import LanguageModel, windows
from tests.worker.export.models import PROXY, block, lively
from tests.worker.export.training import trained

TEXT = "def main() -> None:\n    print('hello')\n" * 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a model whose experts choose tokens."""
    place = tmp_path_factory.mktemp("models") / "trained"
    write_huggingface(place, trained(steps=20), tokenizer="bytes")
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return LanguageModel(folder, batch_size=4)


@given(st.integers(2, 60), st.data(), st.integers(1, 12))
@settings(deadline=None)
def test_windows_predict_each_token_once_with_as_much_of_the_past_as_fits(
    count: int, data: st.DataObject, length: int
) -> None:
    scored = data.draw(st.integers(1, count - 1))
    found = list(windows(count, scored, length))
    predicted = [place for one in found for place in range(one.first, one.end)]
    assert predicted == list(range(count - scored, count))
    for one in found:
        assert 0 <= one.start < one.first
        assert one.end - 1 - one.start <= length
    last = found[-1]
    assert last.end - 1 - last.start == min(length, count - 1)


@pytest.mark.slow
def test_a_score_is_the_models_own_loss(model: LanguageModel, folder: Path) -> None:
    tokens = model.encode(TEXT)[: model.length + 1]
    (score,) = model.score([(tokens, len(tokens) - 1)])
    decoder = LanguageModel(folder)._decoder
    loss, _ = next_token_loss(decoder, jnp.asarray([tokens]), training=False)
    assert -score.log_likelihood / (len(tokens) - 1) == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.slow
def test_neither_batch_mates_nor_padding_change_a_score(model: LanguageModel) -> None:
    tokens = model.encode(TEXT)
    rows = [
        (tokens[:cut], min(scored, cut - 1)) for cut in (2, 7, 30, 65, 150) for scored in (1, 6)
    ]
    together = model.score(rows)
    alone = [model.score([row])[0] for row in reversed(rows)][::-1]
    for one, other in zip(together, alone, strict=True):
        assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-4)
        assert one.is_greedy == other.is_greedy


def test_a_text_of_several_windows_is_the_sum_of_them(model: LanguageModel) -> None:
    tokens = model.encode(TEXT)[: 2 * model.length + 5]
    (whole,) = model.score([(tokens, len(tokens) - 1)])
    parts = [
        (tokens[one.start : one.end], one.end - one.first)
        for one in windows(len(tokens), len(tokens) - 1, model.length)
    ]
    assert len(parts) == 3
    summed = sum(one.log_likelihood for one in model.score(parts))
    assert whole.log_likelihood == pytest.approx(summed, abs=1e-3)


@pytest.mark.slow
def test_greedy_is_what_would_be_generated(model: LanguageModel) -> None:
    prompt = model.encode("def main(")
    (said,) = model.continue_greedily([prompt], 6)
    other = [*said[:-1], (said[-1] + 1) % 256]
    scores = model.score([([*prompt, *said], 6), ([*prompt, *other], 6)])
    assert [one.is_greedy for one in scores] == [True, False]
    assert scores[0].log_likelihood > scores[1].log_likelihood


@pytest.mark.slow
def test_prompts_of_any_length_are_continued_as_each_alone(model: LanguageModel) -> None:
    prompts = [model.encode(text) for text in ("d", "def main", TEXT, "import ", "print('h")]
    steps = 9
    together = model.continue_greedily(prompts, steps)
    for prompt, said in zip(prompts, together, strict=True):
        known = prompt[-(model.length - steps) :]
        alone = generate(model._decoder, jnp.asarray([known]), steps=steps)
        assert said == np.asarray(alone)[0, len(known) :].tolist()


def test_a_prompt_leaves_room_for_what_is_asked(model: LanguageModel) -> None:
    (said,) = model.continue_greedily([model.encode(TEXT)], 10_000)
    assert len(said) == model.length - 1


def test_a_folder_of_weights_needs_a_tokenizer_only_where_nobody_knows_it(tmp_path: Path) -> None:
    write_weights(tmp_path / "known", trained(steps=1))
    assert LanguageModel(tmp_path / "known").encode("a") == [97]
    other = PROXY.model_copy(update={"dataset": "poems"})
    unknown = lively(block("low rank"))
    told = unknown.provenance.model_copy(update={"dataset": "poems"})
    write_weights(tmp_path / "unknown", type(unknown)(unknown.genome, other, unknown.arrays, told))
    with pytest.raises(InvalidExport, match="--tokenizer"):
        LanguageModel(tmp_path / "unknown")
    assert LanguageModel(tmp_path / "unknown", tokenizer="bytes").prefix == 0
    with pytest.raises(NotFound):
        LanguageModel(tmp_path / "none")
