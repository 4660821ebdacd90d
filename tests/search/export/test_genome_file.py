"""Exports: whole, checked by their digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brainformer.search.cost.cost import activated_parameters
from brainformer.search.errors import InvalidExport, NotFound
from brainformer.search.export.genome_file import GenomeExport, read_export, scale_export
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import parse_genome
from tests.search.space.test_genome import EXAMPLE


def _export() -> GenomeExport:
    genome = parse_genome(EXAMPLE)
    return GenomeExport(
        digest=genome.digest,
        genome=genome,
        proxy=Proxy(),
        search_id="s-1",
        search_name="a",
        trial_number=7,
        fitness=0.1,
    )


def test_an_export_reads_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "block.json"
    path.write_text(_export().to_json())
    assert read_export(path) == _export()


def test_a_changed_genome_does_not_pass(tmp_path: Path) -> None:
    data = json.loads(_export().to_json())
    data["genome"]["model_dim"] = 512
    path = tmp_path / "block.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidExport, match="digest"):
        read_export(path)


def test_a_changed_figure_does_not_pass(tmp_path: Path) -> None:
    path = tmp_path / "block.json"
    path.write_text(_export().to_json().replace('"fitness": 0.1', '"fitness": 0.9'))
    with pytest.raises(InvalidExport, match=r"block\.json was changed"):
        read_export(path)


def test_a_newer_schema_and_a_cut_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "block.json"
    text = _export().to_json()
    path.write_text(text.replace('"schema_version": 1', '"schema_version": 2', 1))
    with pytest.raises(
        InvalidExport, match="schema version 2, this version reads up to 1; upgrade"
    ):
        read_export(path)
    path.write_text(text[: len(text) // 2])
    with pytest.raises(InvalidExport, match="not an exported genome: it is not JSON"):
        read_export(path)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "block.json"
    with pytest.raises(NotFound):
        read_export(path)
    path.write_text("{}")
    with pytest.raises(InvalidExport, match="not an exported genome"):
        read_export(path)


@pytest.mark.parametrize("target", [3_000_000, 100_000_000, 10**9])
def test_a_scaled_export_comes_near_the_target_and_says_what_it_was(target: int) -> None:
    export = _export()
    scaled, shape = scale_export(export, target)
    reached = activated_parameters(scaled.genome, scaled.proxy)
    assert abs(reached / target - 1) == pytest.approx(abs(shape.missed))
    assert abs(shape.missed) <= 0.05
    assert scaled.scaled_from == export.digest
    assert scaled.digest == scaled.genome.digest
    assert scaled.fitness is None


def test_a_nano_block_at_a_billion_is_a_usual_model() -> None:
    scaled, shape = scale_export(_export(), 10**9)
    assert 32 <= shape.aspect_ratio <= 256
    assert scaled.proxy.blocks * len(scaled.genome.layers) < 100
    assert scaled.genome.model_dim % 128 == 0
    assert (scaled.proxy.sequence_length, scaled.proxy.vocab_size) == (1024, 32_768)
    assert scaled.proxy.peak_learning_rate < 6e-4
