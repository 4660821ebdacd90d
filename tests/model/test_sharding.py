"""One device against eight, and meshes that do not divide a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import jax
import pytest

from brainformer.model.decoder import build_model
from brainformer.model.sharding import check_mesh, make_mesh
from brainformer.search.errors import InvalidMesh
from tests.model.models import (
    ATTENTION,
    FEED_FORWARD,
    moe,
    small_config,
)

# Sums over devices in another order.
TOLERANCE = 2e-6


def eight_devices(*cases):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    command = [sys.executable, "-m", "tests.model.eight_devices", *cases]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.slow
def test_eight_devices_equal_one():
    results = eight_devices(
        "attention-all-1", "expert_choice-all-1", "expert_choice-all-8", "feed_forward-all-1"
    )

    initial = results.pop("initial")
    assert max(results.values()) < TOLERANCE, results
    assert initial["values"] < TOLERANCE
    assert initial["share"] == 1 / 4  # experts over the expert axis, widths over the model axis


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_kind_of_sub_layer_is_the_same_on_eight_devices():
    results = eight_devices(
        "attention_conv-all-1",
        "low_rank-all-1",
        "layer_norm_post-all-1",
        "expert_choice-data-1",
        "expert_choice-data-8",
        "expert_choice-expert-1",
        "expert_choice-expert-8",
        "expert_choice_gated-all-1",
        "top_1-expert-1",
        "top_1-expert-16",
        "top_2-all-1",
        "top_2-all-4",
        "top_2_dropless-all-1",
        "block-all-1",
        "block-all-8",
        "scanned-all-1",
        "rematerialised-expert-8",
    )

    del results["initial"]
    assert max(results.values()) < TOLERANCE, results


class MeshOf:
    """A mesh of any size, for checks that need no devices."""

    def __init__(self, **shape):
        self.shape = {"data": 1, "expert": 1, "model": 1} | shape


@pytest.mark.parametrize(
    ("changes", "mesh", "pointer", "words"),
    [
        ({"batch_size": 9}, {"data": 2}, "/batch_size", ["9", "data x expert axis (2)"]),
        ({"experts": 6, "expert_groups": 4}, {"expert": 4}, "/experts", ["6", "expert axis (4)"]),
        ({"expert_groups": 3}, {"expert": 2}, "/routing_groups", ["got 3", "(2)"]),
        ({}, {"model": 4}, "/layers/0/heads", ["2", "model axis (4)"]),
        ({}, {"model": 2}, "/layers/1/hidden_dim", ["25", "model axis (2)"]),
    ],
)
def test_mesh_that_does_not_divide_names_field_value_and_axis(changes, mesh, pointer, words):
    config = small_config(ATTENTION, {**FEED_FORWARD, "hidden_dim": 25}, moe("top_1", 1), **changes)

    with pytest.raises(InvalidMesh) as caught:
        check_mesh(config, MeshOf(**mesh))

    assert caught.value.pointer == pointer
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize("sizes", [{"data": 2}, {"expert": 3}, {"data": 0}])
def test_mesh_that_is_not_the_devices_is_refused(sizes):
    with pytest.raises(InvalidMesh):
        make_mesh(**sizes, devices=jax.devices()[:1])


@pytest.mark.slow
def test_groups_of_rows_route_apart():
    together = small_config(ATTENTION, moe("expert_choice"), blocks=1)
    apart = replace(together, expert_groups=2)
    tokens = jax.random.randint(jax.random.key(1), (8, 12), 0, 16)
    whole, _ = build_model(apart, key=jax.random.key(0))(tokens, training=True)
    half, _ = build_model(replace(together, batch_size=4), key=jax.random.key(0))(
        tokens[:4], training=True
    )

    assert float(abs(whole[:4] - half).max()) < 1e-5
