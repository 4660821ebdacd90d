"""Exports from the command line: every format, from a search, a genome file and a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from brainformer.search.export.genome_file import read_export
from brainformer.worker.export.model_folders import read_model
from tests.api.cli.test_search import SPEC, brainformer, refused
from tests.api.dashboard.site import ScriptedWorker, Site

USAGE = 2


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    found = Site(folder)
    spec = folder / "spec.yaml"
    spec.write_text(SPEC)
    brainformer(found, "search", "create", "-f", str(spec))
    worker = ScriptedWorker(found)
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9, 1.8])
    worker.http.close()
    yield found
    found.stop()


@pytest.mark.parametrize("kind", ["weights", "huggingface"])
def test_a_search_is_exported_with_initial_weights(site: Site, kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = brainformer(site, "export", "small", "--format", kind, "-o", str(out), "--seed", "3")
    assert f"{kind}, untrained" in told.stderr
    model = read_model(out)
    assert (model.provenance.search_name, model.provenance.trial_number) == ("small", 2)
    assert (model.provenance.seed, model.provenance.origin) == (3, "initialised")
    best = json.loads(brainformer(site, "export", "small").stdout)
    assert model.genome.digest == best["digest"]


def test_a_file_and_a_folder_are_sources_too(site: Site, tmp_path: Path) -> None:
    file, first, second = tmp_path / "block.json", tmp_path / "first", tmp_path / "second"
    brainformer(site, "export", "small", "-o", str(file), "--trial", "1")
    brainformer(site, "export", str(file), "--format", "huggingface", "-o", str(first))
    brainformer(site, "export", str(first), "--format", "flax", "-o", str(second))
    assert read_model(first).genome == read_export(file).genome
    one, other = read_model(first).arrays, read_model(second).arrays
    assert one.keys() == other.keys()
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert "def load(" in (second / "block.py").read_text()


def test_a_trial_is_chosen_of_a_search_alone(site: Site, tmp_path: Path) -> None:
    file, folder = tmp_path / "block.json", tmp_path / "folder"
    brainformer(site, "export", "small", "-o", str(file), "--trial", "1")
    brainformer(site, "export", str(file), "--format", "weights", "-o", str(folder))
    for source in (file, folder):
        out = str(tmp_path / "out")
        told = refused(
            site, USAGE, "export", str(source), "--format", "flax", "--trial", "2", "-o", out
        )
        assert "holds one block" in told
    assert "exported as weights, flax or huggingface" in refused(site, USAGE, "export", str(folder))


@pytest.mark.parametrize("size", ["100000B", "0", "1X"])
def test_a_size_that_no_model_has_is_refused_in_a_sentence(site: Site, size: str) -> None:
    told = refused(site, USAGE, "export", "small", "--target-params", size)
    assert re.search(r"must be at most 10000000000000|a count is a number above 0", told)


def test_a_report_is_one_file(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    brainformer(site, "export", "small", "--format", "report", "-o", str(file))
    assert file.read_text().startswith("<!doctype html>")
    assert "small: search report" in file.read_text()


def test_what_cannot_be_exported_is_told(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out"
    to = ("-o", str(out))
    hugging = ("--format", "huggingface")
    brainformer(site, "export", "small", "--format", "weights", *to)
    words = tmp_path / "words.json"
    words.write_text("{}")
    for arguments, told in (
        (("small", *hugging), "name it with --output"),
        (("small", "--push-to-hub", "me/block"), "uploads --format huggingface"),
        ((str(out), *hugging, *to, "--target-params", "1M"), "weights cannot be scaled"),
        ((str(out), "--format", "genome", *to), "exported as weights, flax or huggingface"),
        (("small", *hugging, *to, "--tokenizer", str(words)), "is not a tokenizers file"),
    ):
        assert told in refused(site, USAGE, "export", *arguments)
    read_model(out)


def test_data_of_unknown_words_asks_for_its_tokenizer(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "block.json"
    brainformer(site, "export", "small", "-o", str(file))
    data = json.loads(file.read_text())
    data["proxy"]["dataset"] = "my-text"
    del data["content_digest"]
    file.write_text(json.dumps(data))
    out = ("--format", "huggingface", "-o", str(tmp_path / "out"))
    told = refused(site, USAGE, "export", str(file), *out)
    assert "my-text was prepared on another machine; give its tokenizer with --tokenizer" in told
    brainformer(site, "export", str(file), *out, "--tokenizer", "bytes")
