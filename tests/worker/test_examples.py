import pytest

from brainformer.search.errors import NotFound
from brainformer.search.proxy.builtin_proxies import PROXIES, load_proxy
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.zoo import resolve_genome
from brainformer.search.spec import parse_spec
from tests.repository import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_spec(path):
    spec = parse_spec(path.read_text("utf-8"))
    assert spec.name == path.stem
    space = spec.resolved_space()
    for seed in (spec.baseline, *spec.seeds):
        assert resolve_genome(seed, space)


def test_the_examples_are_there():
    assert {path.stem for path in EXAMPLES} >= {"laptop", "one-gpu", "tpu-slice"}


def test_the_laptop_example_is_the_nano_proxy():
    text = next(path for path in EXAMPLES if path.stem == "laptop").read_text("utf-8")
    ours = parse_spec(text).proxy.model_copy(update={"clock": "auto"})
    assert ours == PROXIES["nano"]


def test_the_papers_proxy_has_three_blocks_and_nano_one():
    assert {name: proxy.blocks for name, proxy in PROXIES.items()} == {
        "brainformer-100m32e": 3,
        "nano": 1,
    }
    assert load_proxy("brainformer-100m32e").experts == 32
    assert isinstance(load_proxy("nano"), Proxy)


def test_an_unknown_proxy_names_the_known_ones():
    with pytest.raises(NotFound, match="100m32e, nano"):
        load_proxy("huge")
