import numpy as np
import pytest

from api.admission import KnownDataSets, admit, largest_genome
from api.settings import load_settings
from search import cost
from search.errors import InvalidSpec
from search.space import load_preset
from search.spec import Proxy, SearchSpec, parse_spec
from tests.api.rest_site import SPEC


def admitted(spec: SearchSpec, **settings) -> None:
    admit(spec, load_settings(None, **settings), KnownDataSets(()))


def test_presets_are_admitted_with_the_defaults():
    admitted(parse_spec(SPEC))
    admitted(parse_spec({"name": "a", "space": "brainformer-100m32e", "limits": {"trials": 5}}))


@pytest.mark.parametrize("name", ["nano", "brainformer-100m32e"])
def test_no_sampled_genome_is_larger_than_the_largest(name):
    space = load_preset(name)
    proxy = Proxy()
    top = largest_genome(space)
    generator = np.random.default_rng(7)
    for _ in range(200):
        genome = space.sample(rng=generator)
        assert cost.parameters(genome, proxy) <= cost.parameters(top, proxy)
        assert cost.memory_bytes(genome, proxy) <= cost.memory_bytes(top, proxy)


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
                    "layers": {"attention": {"heads": [1]}}}}, {}, "/space"),
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
