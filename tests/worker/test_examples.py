import pytest

from brainformer.search.cost.cost import activated_parameters
from brainformer.search.errors import NotFound
from brainformer.search.proxy.builtin_proxies import PROXIES, UNTUNED, load_proxy, untuned_recipe
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.space import load_preset, preset_names
from brainformer.search.space.zoo import resolve_genome, zoo_genome
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


def test_the_examples_are_those_of_the_page_on_devices():
    page = (REPOSITORY / "docs" / "devices.md").read_text("utf-8")
    rows = [line.split("|") for line in page.splitlines() if ".yaml`" in line]
    told = {row[2].strip(" `").removesuffix(".yaml"): row for row in rows}
    assert set(told) == {path.stem for path in EXAMPLES}
    for path in EXAMPLES:
        proxy = parse_spec(path.read_text("utf-8")).proxy
        assert float(told[path.stem][4].strip(" s").replace(",", "")) == proxy.budget_seconds


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_differs_from_its_built_in_proxy_in_what_it_names_alone(path):
    spec = parse_spec(path.read_text("utf-8"))
    assert isinstance(spec.space, str)
    ours, preset = spec.proxy.model_dump(), PROXIES[spec.space].model_dump()
    own = {"vocab_size", "batch_size", "dataset", "validation_tokens", "budget_seconds", "clock"}
    assert {name for name in ours if ours[name] != preset[name]} <= own | {"precision"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_member_of_an_examples_family_can_be_trained(path):
    spec = parse_spec(path.read_text("utf-8"))
    assert 1 <= len(spec.rivals()) <= 40


def test_the_laptop_example_is_the_nano_proxy():
    text = next(path for path in EXAMPLES if path.stem == "laptop").read_text("utf-8")
    ours = parse_spec(text).proxy.model_copy(update={"clock": "auto"})
    assert ours == PROXIES["nano"]


def test_every_built_in_proxy_has_the_name_of_a_space():
    assert sorted(PROXIES) == sorted(preset_names())
    assert {"brainformer-100m32e", "one-gpu"} == UNTUNED


def test_the_papers_proxy_has_three_blocks_and_nano_one():
    found = {name: proxy.blocks for name, proxy in PROXIES.items()}
    assert found == {"brainformer-100m32e": 3, "nano": 1, "one-gpu": 2}
    assert load_proxy("brainformer-100m32e").experts == 32
    assert isinstance(load_proxy("nano"), Proxy)


@pytest.mark.parametrize("name", sorted(PROXIES))
def test_a_proxy_that_nobody_has_tuned_is_known_by_its_recipe(name):
    found = untuned_recipe(load_proxy(name))
    assert found == (name if name in UNTUNED else None)
    other = load_proxy(name).model_copy(update={"peak_learning_rate": 0.0123, "vocab_size": 512})
    assert untuned_recipe(other) is None


def test_glams_block_on_one_gpu_is_of_the_size_that_the_page_says():
    block, proxy = zoo_genome("glam", load_preset("one-gpu")), load_proxy("one-gpu")
    assert activated_parameters(block, proxy) == pytest.approx(34e6, rel=0.02)


def test_an_unknown_proxy_names_the_known_ones():
    with pytest.raises(NotFound, match="100m32e, nano, one-gpu"):
        load_proxy("huge")
