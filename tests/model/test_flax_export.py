"""The stand-alone source of an exported block computes what the searched model computes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import Decoder, build_model, next_token_loss
from brainformer.search.export.flax_source import flax_source
from brainformer.search.export.genome_file import GenomeExport
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.genome import parse_genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome, zoo_names
from tests.model.models import ATTENTION, FEED_FORWARD, moe

PROXY = load_proxy("nano").model_copy(update={"sequence_length": 24})
NORMED = {"norm": "layer_norm", "norm_position": "post"}
BLOCKS = {
    "expert choice": [ATTENTION, moe("expert_choice", 2, "gated_relu"), FEED_FORWARD | NORMED],
    "top-1 with a capacity": [ATTENTION | {"conv_width": 3}, moe("top_1", 1.25)],
    "top-2 without drops": [moe("top_2", 0), ATTENTION | NORMED],
    "low rank": [ATTENTION, FEED_FORWARD | {"rank": 8, "activation": "squared_relu"}],
}


def exported(layers: list[dict[str, Any]]) -> GenomeExport:
    genome = parse_genome({"model_dim": 16, "layers": layers})
    return GenomeExport(
        digest=genome.digest,
        genome=genome,
        proxy=PROXY,
        search_id="s",
        search_name="small",
        trial_number=3,
    )


def imported(source: str, folder: Path) -> ModuleType:
    file = folder / "exported_block.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("exported_block", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flat(model: nnx.Module) -> dict[tuple[Any, ...], Any]:
    """Returns the model's variables by path, less the names that only group others."""
    variables = nnx.to_flat_state(nnx.state(model))
    return {
        tuple(part for part in path if part not in ("layers", "matrices")): variable
        for path, variable in variables
    }


def pair(layers: list[dict[str, Any]], folder: Path) -> tuple[Decoder, Any, ModuleType]:
    """Returns the searched model and the exported one with the same parameters."""
    export = exported(layers)
    config = ModelConfig.of_proxy(export.genome, export.proxy, platform="cpu")
    ours = build_model(config, key=jax.random.key(0))
    module = imported(flax_source(export), folder)
    theirs = module.Model(module.CONFIG, rngs=nnx.Rngs(1))
    values, places = flat(ours), flat(theirs)
    assert values.keys() == places.keys()
    for path, variable in places.items():
        variable[...] = values[path][...]
    return ours, theirs, module


@pytest.mark.slow
@pytest.mark.parametrize("layers", BLOCKS.values(), ids=BLOCKS)
def test_logits_equal_the_searched_model_s(layers: list[dict[str, Any]], tmp_path: Path) -> None:
    ours, theirs, module = pair(layers, tmp_path)
    shape = (PROXY.batch_size, PROXY.sequence_length + 1)
    tokens = jax.random.randint(jax.random.key(2), shape, 0, PROXY.vocab_size, jnp.int32)
    for training in (False, True, False):  # a training step moves the running cut-offs
        expected, _ = ours(tokens[:, :-1], training=training)
        found = theirs(tokens[:, :-1], training=training)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    wanted, _ = next_token_loss(ours, tokens, training=True)
    loss = module.next_token_loss(theirs, tokens, training=True)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.slow
def test_a_gradient_reaches_every_parameter(tmp_path: Path) -> None:
    _, theirs, module = pair(BLOCKS["expert choice"], tmp_path)
    tokens = jax.random.randint(jax.random.key(2), (8, 25), 0, PROXY.vocab_size, jnp.int32)

    @nnx.jit
    def gradients(model: nnx.Module) -> Any:
        return nnx.grad(module.next_token_loss)(model, tokens)

    for path, gradient in nnx.to_flat_state(gradients(theirs)):
        assert float(jnp.abs(gradient[...]).max()) > 0, path


@pytest.mark.parametrize("name", zoo_names())
def test_every_zoo_genome_has_a_source_that_can_be_read_as_python(name: str) -> None:
    genome = zoo_genome(name, load_preset("nano"))
    export = exported([ATTENTION]).model_copy(update={"genome": genome})
    compile(flax_source(export), name, "exec")


@pytest.mark.slow
def test_the_source_runs_on_its_own(tmp_path: Path) -> None:
    file = tmp_path / "block.py"
    file.write_text(flax_source(exported(BLOCKS["expert choice"])))
    shown = subprocess.run(
        [sys.executable, "-I", str(file)], capture_output=True, text=True, timeout=120
    )
    assert "untrained loss" in shown.stdout, shown.stderr
    assert "import search" not in file.read_text()
