import numpy as np
import pytest

from brainformer.api.gate.admission import KnownDataSets, admit
from brainformer.api.settings import load_settings
from brainformer.search.cost import cost
from brainformer.search.cost.largest import largest_genome
from brainformer.search.errors import InvalidSpec
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.space import Space, load_preset
from brainformer.search.spec import SearchSpec, parse_spec
from tests.api.rest_site import SPEC
from tests.repository import REPOSITORY


def admitted(spec: SearchSpec, **settings) -> None:
    admit(spec, load_settings(None, **settings), KnownDataSets(()))


def test_presets_are_admitted_with_the_defaults():
    admitted(parse_spec(SPEC))
    admitted(parse_spec({"name": "a", "space": "brainformer-100m32e", "limits": {"trials": 5}}))


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "examples").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_example_is_admitted_with_the_defaults(path):
    spec = parse_spec(path.read_text("utf-8"))
    admit(spec, load_settings(None), KnownDataSets((spec.proxy.dataset,)))


@pytest.mark.parametrize("name", ["nano", "brainformer-100m32e"])
@pytest.mark.parametrize("size", [cost.parameters, cost.memory_bytes])
@pytest.mark.parametrize("proxy", [Proxy(), Proxy(experts=2, sequence_length=16)])
def test_no_sampled_genome_is_larger_than_the_largest(name, size, proxy):
    space = load_preset(name)
    top = largest_genome(space, proxy, size)
    assert space.contains(top)
    rng = np.random.default_rng(7)
    assert all(size(space.sample(rng=rng), proxy) <= size(top, proxy) for _ in range(200))


def test_whole_matrices_and_dropless_experts_count_as_the_largest_where_they_are():
    space = Space(
        name="a", model_dim=(64,), min_layers=1, max_layers=3,
        layers={
            "feed_forward": {"hidden_dim": (64,), "activation": ("relu",), "rank": (0, 4)},
            "moe": {"hidden_dim": (8,), "activation": ("relu",), "gating": ("top_2",),
                    "capacity_factor": (0, 0.5)},
        },
    )  # fmt: skip
    proxy = Proxy(experts=4, sequence_length=64)
    for size in (cost.parameters, cost.memory_bytes):
        top = max(size(genome, proxy) for genome in space.enumerate())
        assert size(largest_genome(space, proxy, size), proxy) == top


@pytest.mark.parametrize(
    ("changes", "settings", "pointer"),
    [
        ({"space": "mars"}, {}, "/space"),
        ({"baseline": "nobody"}, {}, "/baseline"),
        ({"seeds": ["glam", "nobody"]}, {}, "/seeds/1"),
        ({"proxy": {"dataset": "unknown"}}, {}, "/proxy/dataset"),
        ({}, {"max_parameters": 1000}, "/space"),
        ({}, {"max_memory_bytes": 1000}, "/space"),
        ({"baseline": {"model_dim": 65536, "layers": [
            {"kind": "feed_forward", "hidden_dim": 65536, "activation": "relu"}] * 8}},
         {}, "/baseline"),
        ({"space": {"name": "a", "model_dim": [0], "min_layers": 1, "max_layers": 1,
                    "layers": {"attention": {"heads": [1]}}}}, {}, "/space/model_dim/0"),
    ],
)  # fmt: skip
def test_what_cannot_be_dispatched_is_refused(changes, settings, pointer):
    with pytest.raises(InvalidSpec) as caught:
        admitted(parse_spec(SPEC | changes), **settings)
    assert caught.value.pointer == pointer


def test_a_data_set_that_a_worker_offers_is_known():
    known = KnownDataSets(("configured",))
    known.offer({"books": "0" * 64})
    assert set(known.all()) == {"python-stdlib", "configured", "books"}
