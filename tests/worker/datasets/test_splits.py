"""Three splits by document that do not repeat one another, found with plain string search."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.datasets.manifest import Manifest, read_manifest
from brainformer.worker.datasets.overlap import OVERLAP_TOKENS, passage_hashes, repeated, runs_kept
from brainformer.worker.datasets.preparation import prepare_dataset
from brainformer.worker.datasets.splits import Shares
from brainformer.worker.datasets.stdlib_text import BUILT_IN

WORDS = [f"word{number}" for number in range(500)]


def sentences(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


def prepared(
    tmp_path: Path, texts: list[str], **options: object
) -> tuple[Manifest, dict[str, bytes]]:
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts), "utf-8")
    folder = tmp_path / "sets"
    shares = {"validation_share": 0.2, "test_share": 0.2}
    manifest = prepare_dataset("mine", [path], folder=folder, **(shares | options))
    stored = {
        name: b"".join(bytes(np.load(path)) for path in sorted((folder / "mine").glob(f"{name}-*")))
        for name in ("train", "validation", "test")
    }
    return manifest, stored


def passages(stored: bytes) -> list[bytes]:
    return [stored[at : at + OVERLAP_TOKENS] for at in range(len(stored) - OVERLAP_TOKENS + 1)]


def test_no_passage_of_a_held_out_split_stands_in_another(tmp_path):
    rng = random.Random(1)
    licence = sentences(rng, 40)
    texts = [f"{sentences(rng, 60)} {licence} {sentences(rng, 60)}" for _ in range(60)]
    manifest, stored = prepared(tmp_path, texts)
    for name, others in (("validation", ["train"]), ("test", ["train", "validation"])):
        assert len(stored[name]) > 1000
        for other in others:
            assert not any(passage in stored[other] for passage in passages(stored[name])), name
    assert manifest.overlap is not None
    assert manifest.overlap.validation_tokens >= len(licence) - OVERLAP_TOKENS
    assert licence.encode() in stored["train"]


def test_only_what_is_repeated_is_left_out(tmp_path):
    rng = random.Random(2)
    texts = [sentences(rng, 80) for _ in range(60)]
    manifest, stored = prepared(tmp_path, texts)
    assert manifest.overlap is not None
    assert (manifest.overlap.validation_tokens, manifest.overlap.test_tokens) == (0, 0)
    assert sum(map(len, stored.values())) == sum(len(text.encode()) + 1 for text in texts)


def test_a_whole_document_that_stands_in_training_goes(tmp_path):
    rng = random.Random(3)
    texts = [sentences(rng, 80) for _ in range(40)]
    shares = Shares(0.2, 0.2)
    held_out = next(text for text in texts if shares.split_of(text) == "validation")
    trained = next(text for text in texts if shares.split_of(text) == "train")
    carrier = f"{trained} {held_out}"
    while shares.split_of(carrier) != "train":
        carrier += " more"
    _, stored = prepared(tmp_path, [*texts, carrier])
    assert held_out.encode() not in stored["validation"]
    assert held_out[100:200].encode() not in stored["validation"]


def test_what_is_left_of_a_document_is_kept_apart(tmp_path):
    rng = random.Random(4)
    common = sentences(rng, 40)
    texts = [f"{sentences(rng, 60)} {common} {sentences(rng, 60)}" for _ in range(60)]
    manifest, stored = prepared(tmp_path, texts)
    kept = sum(shard.tokens for shard in manifest.validation)
    assert kept == len(stored["validation"]) == sum(s.text_bytes for s in manifest.validation)
    for piece in stored["validation"].split(b"\0"):
        assert any(piece in text.encode() for text in texts), piece


def test_held_out_text_that_is_all_in_training_is_refused(tmp_path):
    texts = ["the very same text, over and over again, " * 8 + str(number) for number in range(60)]
    with pytest.raises(InvalidData, match="nothing is left of the validation split"):
        prepared(tmp_path, texts)
    assert not (tmp_path / "sets" / "mine").exists()


def test_passages_are_found_where_chunks_and_shards_meet(monkeypatch):
    monkeypatch.setattr("brainformer.worker.datasets.overlap.CHUNK_TOKENS", 100)
    rng = np.random.default_rng(5)
    train = rng.integers(0, 256, 1000).astype(np.uint8)
    for start in (0, 37, 99, 100, 936):
        held_out = rng.integers(0, 256, 300).astype(np.uint8)
        held_out[120 : 120 + OVERLAP_TOKENS] = train[start : start + OVERLAP_TOKENS]
        mask = repeated(held_out, [rng.integers(0, 256, 50).astype(np.uint8), train])
        assert list(np.flatnonzero(mask)) == list(range(120, 120 + OVERLAP_TOKENS)), start


def test_shorter_repeats_stay():
    rng = np.random.default_rng(6)
    train = rng.integers(0, 256, 1000).astype(np.uint8)
    held_out = rng.integers(0, 256, 300).astype(np.uint8)
    held_out[100:163] = train[500:563]
    assert not repeated(held_out, [train]).any()


def test_hashes_tell_passages_apart():
    tokens = np.arange(300_000, dtype=np.uint32) % 7919
    assert len(np.unique(passage_hashes(tokens))) == 7919
    assert len(passage_hashes(tokens[:63])) == 0
    assert len(passage_hashes(tokens[:64])) == 1


def test_stretches_between_gaps():
    mask = np.array([1, 0, 0, 1, 1, 0], bool)
    assert runs_kept(mask) == [(1, 3), (5, 6)]
    assert runs_kept(np.ones(3, bool)) == []
    assert runs_kept(np.zeros(3, bool)) == [(0, 3)]


@pytest.mark.parametrize("share", [-0.1, 0.8, 1.0])
def test_an_impossible_test_share_is_refused(tmp_path, share):
    with pytest.raises(InvalidData, match="the test share must be at least 0"):
        prepared(tmp_path, ["a"], test_share=share)


def test_without_a_test_split_there_is_none(tmp_path):
    rng = random.Random(7)
    manifest, _ = prepared(tmp_path, [sentences(rng, 80) for _ in range(60)], test_share=0)
    assert manifest.test == ()
    assert open_dataset("mine", tmp_path / "sets").test is None


def test_a_data_set_of_the_first_version_still_opens(tmp_path):
    rng = random.Random(8)
    manifest, _ = prepared(tmp_path, [sentences(rng, 80) for _ in range(60)], test_share=0)
    place = tmp_path / "sets" / "mine"
    plain = json.loads((place / "manifest.json").read_text()) | {"format_version": 1}
    del plain["test"], plain["overlap"]
    (place / "manifest.json").write_text(json.dumps(plain))
    assert read_manifest(place).hash == manifest.hash
    assert open_dataset("mine", tmp_path / "sets").test is None


@pytest.mark.slow
def test_the_built_in_set_has_three_splits_and_replaces_one_that_has_two(tmp_path):
    first = open_dataset(BUILT_IN, tmp_path)
    assert first.test is not None
    assert first.manifest.overlap is not None
    assert first.manifest.overlap.validation_tokens > 0
    place = tmp_path / BUILT_IN
    plain = json.loads((place / "manifest.json").read_text()) | {"format_version": 1, "test": []}
    draft = Manifest.model_validate(plain)
    old = draft.model_copy(update={"hash": draft.expected_hash()})
    (place / "manifest.json").write_text(old.model_dump_json())
    assert open_dataset(BUILT_IN, tmp_path).manifest.hash == first.manifest.hash
