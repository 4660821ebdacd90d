"""`brainformer data`, as a user types it."""

import json
import random
import re
import sys

import pytest

from brainformer.api.cli.main import main

WORDS = [f"word{number}" for number in range(90)]
LINES = [
    {"text": f"Document {i}: " + " ".join(random.Random(i).choices(WORDS, k=40))} for i in range(80)
]


@pytest.fixture
def brainformer(monkeypatch, capsys):
    """Runs a command; returns exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["brainformer", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr()
        return ended.value.code or 0, out.out, out.err

    return run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    return path


def test_prepare_prints_the_hash_and_show_finds_it_again(brainformer, file, tmp_path):
    code, out, err = brainformer("data", "prepare", "mine", file, "--folder", tmp_path / "sets")
    assert code == 0
    assert "tokens to train on" in err
    digest = out.strip()
    code, out, _ = brainformer("data", "show", "mine", "--folder", tmp_path / "sets", "--json")
    manifest = json.loads(out)
    assert (code, manifest["hash"], manifest["documents"]) == (0, digest, 80)
    code, out, _ = brainformer("data", "list", "--folder", tmp_path / "sets", "--json")
    assert [one["id"] for one in json.loads(out)] == ["mine"]


def test_tables_name_the_data_set_and_the_built_in_one(brainformer, file, tmp_path):
    brainformer("data", "prepare", "mine", file, "--folder", tmp_path / "sets")
    _, out, _ = brainformer("data", "list", "--folder", tmp_path / "sets")
    assert "mine" in out
    assert "python-stdlib" in out
    _, out, _ = brainformer("data", "show", "mine", "--folder", tmp_path / "sets")
    for split in ("train", "validation", "test"):
        assert re.search(rf"{split} tokens +[1-9]", out), out
    assert "in 1 shard\n" in re.sub(r" +\n", "\n", out)
    assert "bytes, vocabulary 256" in out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"caf\xe9", "a.txt: text must be UTF-8; byte 3 is not"),
        ("a.jsonl", b'{"text": 1}\n', "a.jsonl: line 1 needs a string under 'text'"),
        ("a.parquet", b"PAR1", "a.parquet: is not a readable Parquet file"),
        ("a.txt", b"one document alone", "split is empty"),
    ],
)
def test_bad_files_are_one_sentence_and_leave_nothing(name, content, said, brainformer, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    code, out, err = brainformer("data", "prepare", "bad", path, "--folder", tmp_path / "sets")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert said in " ".join(err.split())
    assert list((tmp_path / "sets").iterdir()) == []


@pytest.mark.parametrize(
    ("tokenizer", "said"),
    [
        ("missing.json", "cannot read the tokenizer"),
        ("words.txt", "a tokenizer is 'bytes', a tokenizers .json or a SentencePiece .model"),
    ],
)
def test_bad_tokenizers_are_named(tokenizer, said, brainformer, file, tmp_path):
    words = ["data", "prepare", "mine", file, "--folder", tmp_path / "sets"]
    code, _, err = brainformer(*words, "--tokenizer", tokenizer)
    assert code == 2
    assert said in " ".join(err.split())


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_a_file_that_is_no_tokenizer_is_named(name, brainformer, file, tmp_path):
    path = tmp_path / name
    path.write_text("not a tokenizer")
    words = ["data", "prepare", "mine", file, "--folder", tmp_path / "sets"]
    code, _, err = brainformer(*words, "--tokenizer", path)
    assert code == 2
    assert name in "".join(err.split())


def test_a_damaged_shard_is_shown_as_damaged(brainformer, file, tmp_path):
    brainformer("data", "prepare", "mine", file, "--folder", tmp_path / "sets")
    shard = tmp_path / "sets" / "mine" / "train-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-10])
    code, out, err = brainformer("data", "show", "mine", "--folder", tmp_path / "sets")
    assert (code, out) == (2, "")
    assert "the shard is corrupt or truncated" in " ".join(err.split())


def test_an_unknown_data_set_is_not_found_and_the_known_ones_are_listed(brainformer, tmp_path):
    code, _, err = brainformer("data", "show", "nothing", "--folder", tmp_path)
    assert code == 3
    assert "python-stdlib" in err
