"""The rule that gives a trial its mesh."""

import pytest
from pydantic import ValidationError

from brainformer.search.cost.mesh_rule import choose_mesh
from brainformer.search.errors import InvalidMesh
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome

SPACE = load_preset("brainformer-100m32e")
GLAM = zoo_genome("glam", SPACE)
DENSE = zoo_genome("dense_transformer", SPACE)


@pytest.mark.parametrize(
    ("genome", "devices", "mesh"),
    [
        (GLAM, 1, MeshAxes()),
        (GLAM, 8, MeshAxes(expert=8)),
        (GLAM, 64, MeshAxes(data=2, expert=32)),
        (DENSE, 8, MeshAxes(data=8)),
    ],
)
def test_expert_axis_is_the_largest_divisor_that_experts_allow(genome, devices, mesh):
    assert choose_mesh(genome, Proxy(experts=32, batch_size=64), devices) == mesh


def test_experts_and_devices_share_what_divides_both():
    assert choose_mesh(GLAM, Proxy(experts=12, batch_size=64), 8) == MeshAxes(data=2, expert=4)


def test_widths_are_split_only_until_a_trial_fits():
    proxy = Proxy(experts=32, batch_size=32)

    wide = choose_mesh(GLAM, proxy, 8, fits=lambda mesh: mesh.model >= 4)

    assert wide == MeshAxes(expert=2, model=4)
    assert choose_mesh(GLAM, proxy, 8, fits=lambda mesh: True) == MeshAxes(expert=8)


def test_widths_that_cannot_be_split_stay_whole():
    layers = tuple(
        layer.model_copy(update={"heads": 5}) if layer.kind == "attention" else layer
        for layer in GLAM.layers
    )
    odd = GLAM.model_copy(update={"layers": layers})

    assert choose_mesh(odd, Proxy(), 8, fits=lambda mesh: False) == MeshAxes(expert=8)


def test_a_mesh_in_the_proxy_counts():
    mesh = MeshAxes(data=4, expert=2)

    assert choose_mesh(GLAM, Proxy(mesh=mesh), 8) == mesh


@pytest.mark.parametrize(
    ("proxy", "devices", "words"),
    [
        (Proxy(batch_size=12), 8, ["too few rows for the data axis", "got 12", "(8)"]),
        (Proxy(batch_size=32), 3, ["too few rows", "(3)"]),
        (Proxy(routing_groups=4), 8, ["routing_groups", "got 4"]),
        (Proxy(mesh=MeshAxes(data=4)), 8, ["as many devices as the slot (8)", "data 4"]),
        (Proxy(mesh=MeshAxes(model=8)), 8, ["the model axis (8) must divide layers/0/heads"]),
    ],
)
def test_devices_without_a_mesh_are_refused_in_one_sentence(proxy, devices, words):
    with pytest.raises(InvalidMesh) as caught:
        choose_mesh(GLAM, proxy, devices)

    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mesh": {"data": 3}}, "data x expert (3) must divide batch_size (32)"),
        ({"experts": 6, "mesh": {"expert": 4}}, "expert axis (4) must divide experts (6)"),
        ({"routing_groups": 3}, "routing_groups (3) must divide batch_size (32)"),
        ({"routing_groups": 2, "mesh": {"data": 4}}, "routing_groups (2) must be 1 or a multiple"),
        ({"mesh": {"data": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_mesh_that_does_not_divide_is_refused_with_the_spec(fields, words):
    with pytest.raises(ValidationError) as caught:
        Proxy.model_validate(fields)

    assert words in str(caught.value)


def test_a_proxy_of_before_meshes_reads_and_writes_as_before():
    old = Proxy().model_dump()

    assert not {"mesh", "routing_groups", "remat"} & set(old)
    assert Proxy.model_validate(old) == Proxy()
    assert Proxy(mesh=MeshAxes(data=8)).model_dump(mode="json")["mesh"]["data"] == 8
