"""A data set keeps the tokenizer that it was made with, and notices when it is another."""

from pathlib import Path

import pytest

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.datasets.kept_tokenizer import keep_tokenizer, kept_tokenizer
from brainformer.worker.datasets.manifest import read_manifest
from brainformer.worker.datasets.preparation import prepare_dataset
from brainformer.worker.datasets.tokenizers import ByteTokenizer, load_tokenizer
from tests.worker.pretraining.runs import modules
from tests.worker.training_data import data_folder, subwords

__all__ = ["data_folder", "subwords"]


def kept(place: Path):
    told = read_manifest(place)
    return kept_tokenizer(
        place, kind=told.tokenizer, digest=told.tokenizer_sha256, end_token=told.end_token
    )


def test_the_kept_tokenizer_encodes_as_the_file_did(subwords):
    place = subwords.data_folder / "modules"
    found, given = kept(place), load_tokenizer(str(subwords.file))
    text = "def données():\n    return 1\n"
    assert found.encode(text).tolist() == given.encode(text).tolist()
    assert (found.end, found.digest) == (given.end, given.digest)
    assert open_dataset("modules", subwords.data_folder).place == place


@pytest.mark.parametrize("end_token", ["<|endoftext|>", "none"])
def test_what_ends_a_document_is_kept(end_token, subwords, tmp_path):
    options = {"validation_share": 0.2, "test_share": 0.2, "folder": tmp_path}
    tokenizer = str(subwords.file)
    manifest = prepare_dataset(
        "other", modules(), tokenizer=tokenizer, end_token=end_token, **options
    )
    assert manifest.end_token == end_token
    assert kept(tmp_path / "other").end == load_tokenizer(tokenizer, end_token).end


def test_a_changed_tokenizer_is_refused(subwords, tmp_path):
    keep_tokenizer(tmp_path, load_tokenizer(str(subwords.file)))
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    with pytest.raises(InvalidData, match="not the tokenizer that this was made with"):
        kept_tokenizer(tmp_path, kind="huggingface", digest="0" * 64, end_token="none")


def test_bytes_need_no_file_and_older_data_sets_have_none(data_folder, tmp_path):
    assert isinstance(kept(data_folder / "modules"), ByteTokenizer)
    assert not list((data_folder / "modules").glob("tokenizer*"))
    assert "end_token" not in (data_folder / "modules" / "manifest.json").read_text("utf-8")
    assert kept_tokenizer(tmp_path, kind="huggingface", digest="", end_token=None) is None
