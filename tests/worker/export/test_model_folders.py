"""Exported folders: bit for bit, whole or not at all, and nothing lost to bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import build_model, split_parameters
from brainformer.search.errors import EnvironmentProblem, InvalidExport, NotFound
from brainformer.search.export.manifest import sealed_json
from brainformer.search.export.provenance import Provenance
from brainformer.search.space.genome import LAYER_KINDS
from brainformer.worker.export.model_folders import (
    read_model,
    write_flax,
    write_huggingface,
    write_weights,
)
from brainformer.worker.export.torch_layout import FROM_TORCH, TO_TORCH
from brainformer.worker.export.weighted_model import WeightedModel, named_arrays, weighted
from tests.model.test_flax_export import imported
from tests.repository import REPOSITORY
from tests.worker.export.models import BLOCKS, PROXY, block, lively, zoo

WRITERS = {"weights": write_weights, "flax": write_flax, "huggingface": write_huggingface}


# Estimates of routers that PyTorch's model has no use for.
LEFT_OUT = ("steps", "cutoff")


def same(found: WeightedModel, expected: WeightedModel, *, kind: str) -> None:
    """Holds that all arrays are the same, bit for bit; a folder for transformers has fewer."""
    left = set(expected.arrays) - set(found.arrays)
    assert not left or (kind == "huggingface" and all(name.endswith(LEFT_OUT) for name in left))
    for name, value in found.arrays.items():
        assert value.tobytes() == expected.arrays[name].tobytes(), name
        assert value.dtype == expected.arrays[name].dtype, name


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("kind", WRITERS)
def test_weights_come_back_bit_for_bit(kind: str, name: str, tmp_path: Path) -> None:
    model = lively(block(name))
    WRITERS[kind](tmp_path / "out", model)
    found = read_model(tmp_path / "out")
    same(found, model, kind=kind)
    tokens = jax.random.randint(jax.random.key(1), (2, 24), 0, PROXY.vocab_size)
    logits = [one.decoder()(tokens, training=False)[0] for one in (model, found)]
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize("name", zoo())
def test_every_zoo_genome_goes_to_pytorch_s_layout_and_back(name: str, tmp_path: Path) -> None:
    model = lively(zoo()[name])
    write_huggingface(tmp_path / "out", model)
    same(read_model(tmp_path / "out"), model, kind="huggingface")


def test_every_kind_of_sub_layer_has_a_layout() -> None:
    assert TO_TORCH.keys() == FROM_TORCH.keys() == LAYER_KINDS.keys()


def test_a_scanned_model_and_a_training_state_have_the_same_names_as_a_model() -> None:
    genome = block("expert choice")
    config = ModelConfig.of_proxy(genome, PROXY, platform="cpu")
    model = build_model(config, key=jax.random.key(0))
    _, parameters, routing = split_parameters(model)
    whole = named_arrays(model)
    assert named_arrays(parameters, routing).keys() == whole.keys()
    scanned = build_model(replace(config, scan=True), key=jax.random.key(0))
    apart = named_arrays(scanned)
    assert {n: a.shape for n, a in apart.items()} == {n: a.shape for n, a in whole.items()}
    stacked = nnx.state(scanned)["blocks"]["layers"][0]["inner"]["qkv"][...]
    np.testing.assert_array_equal(apart["blocks.1.layers.0.inner.qkv"], stacked[1])


@pytest.mark.slow
def test_flax_source_loads_its_weights(tmp_path: Path) -> None:
    model = lively(block("expert choice"))
    write_flax(tmp_path / "out", model)
    module = imported((tmp_path / "out" / "block.py").read_text(), tmp_path)
    theirs = module.load(tmp_path / "out" / "model.safetensors")
    tokens = jax.random.randint(jax.random.key(1), (2, 24), 0, PROXY.vocab_size)
    expected, _ = model.decoder()(tokens, training=False)
    np.testing.assert_allclose(theirs(tokens, training=False), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", WRITERS)
def test_whoever_may_read_one_file_of_a_folder_may_read_all(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / "model", lively(block(next(iter(BLOCKS)))))
    modes = {one.name: one.stat().st_mode for one in (tmp_path / "model").iterdir()}
    assert len(set(modes.values())) == 1, modes


def test_provenance_is_kept(tmp_path: Path) -> None:
    told = Provenance(origin="trained", search_id="s-1", search_name="a", trial_number=4, steps=9)
    model = weighted(block("low rank"), PROXY, lively(block("low rank")).decoder(), provenance=told)
    write_huggingface(tmp_path / "out", model)
    found = read_model(tmp_path / "out").provenance
    assert (found.search_id, found.trial_number, found.steps) == ("s-1", 4, 9)
    assert (found.dataset, found.tokenizer) == ("python-stdlib", "bytes")
    assert {"python", "jax", "flax", "brainformer-search"} <= found.versions.keys()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "trained for 9 steps" in card
    assert model.genome.digest in card


def test_what_was_truncated_tampered_with_or_is_newer_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_weights(folder, lively(block("low rank")))
    weights, manifest = folder / "model.safetensors", folder / "export.json"
    whole, text = weights.read_bytes(), manifest.read_text()
    changed = bytearray(whole)
    changed[-1] ^= 1
    for data, words in ((whole[:-7], "it was cut short or changed"), (changed, "was changed")):
        weights.write_bytes(data)
        with pytest.raises(InvalidExport, match=words):
            read_model(folder)
    weights.write_bytes(whole)
    told = json.loads(text)
    for change, words in (
        ({"schema_version": 2}, "schema version 2, this version reads up to 1; upgrade"),
        ({"provenance": told["provenance"] | {"origin": "trained"}}, "was changed"),
        ({"content_digest": None}, "was changed"),
    ):
        manifest.write_text(json.dumps(told | change))
        with pytest.raises(InvalidExport, match=words):
            read_model(folder)
    manifest.write_text(text[:100])
    with pytest.raises(InvalidExport, match="damaged"):
        read_model(folder)
    manifest.write_text(text)
    weights.unlink()
    with pytest.raises(InvalidExport, match="missing"):
        read_model(folder)
    with pytest.raises(NotFound):
        read_model(tmp_path / "elsewhere")


def test_weights_of_another_block_are_refused(tmp_path: Path) -> None:
    model = lively(block("low rank"))
    arrays = dict(model.arrays)
    embedding = arrays.pop("embedding")
    for wrong, words in (
        ({}, "lack the array embedding"),
        ({"embedding": embedding[:, :-1]}, r"embedding must be float32\[256, 16\]"),
        ({"embedding": embedding, "extra": embedding}, "has not: extra"),
    ):
        with pytest.raises(InvalidExport, match=words):
            replace(model, arrays=arrays | wrong).decoder()


def test_an_export_of_before_the_rotary_base_reads_as_what_it_was(tmp_path: Path) -> None:
    model = lively(block("low rank"))
    write_weights(tmp_path / "out", model)
    assert read_model(tmp_path / "out").config.rope_base == model.proxy.rope_base == 100
    manifest = tmp_path / "out" / "export.json"
    told = json.loads(manifest.read_text())
    del told["proxy"]["rope_base"], told["content_digest"]
    manifest.write_text(sealed_json(told))
    assert read_model(tmp_path / "out").config.rope_base == 10_000


def test_an_export_replaces_an_export_and_nothing_else(tmp_path: Path) -> None:
    model = lively(block("low rank"))
    folder = tmp_path / "out"
    write_huggingface(folder, model)
    write_weights(folder, model)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "export.json",
        "model.safetensors",
    }
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    file = tmp_path / "file"
    file.write_text("a file")
    for place in (mine, file):
        with pytest.raises(EnvironmentProblem, match="is there already"):
            write_weights(place, model)
    assert (mine / "thesis.tex").read_text() == "years of work"
    assert file.read_text() == "a file"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "mine", "file"}


FULL = """
import sys, resource, signal
from pathlib import Path
from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.export.model_folders import WRITER
from tests.worker.export.models import block, lively
model = lively(block("low rank"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384))
try:
    WRITER(Path(sys.argv[1]), model)
except EnvironmentProblem as error:
    print(error.message)
"""


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_leaves_the_old_export_untouched(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    model = lively(block("low rank"))
    WRITERS[kind](folder, model)
    script = tmp_path / "script.py"
    script.write_text(FULL.replace("WRITER", f"write_{kind}"))
    ran = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        text=True,
        timeout=120,
    )
    assert "cannot write" in ran.stdout, ran.stderr
    same(read_model(folder), model, kind=kind)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "script.py"}
