"""Blocks at a target: the paper's shapes, and what is refused."""

from __future__ import annotations

import pytest

from brainformer.search.cost.cost import activated_parameters, non_embedding_parameters
from brainformer.search.errors import InvalidGenome, InvalidSpec
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.scaling.solving import Scaled, scaled_to
from brainformer.search.scaling.target import LearningRate, Target, parse_target, target_of_size
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome

HUNDRED = load_proxy("brainformer-100m32e")
NANO = load_proxy("nano")
BLOCKS = ("glam", "brainformer_1_approximation", "brainformer_2_approximation", "primer")


def block(name: str, space: str = "brainformer-100m32e") -> Genome:
    return zoo_genome(name, load_preset(space))


def dense(genome: Genome) -> Genome:
    """Returns the dense transformer of the same shape."""
    layers = tuple(genome.layers[1] if one.kind == "moe" else one for one in genome.layers)
    return genome.model_copy(update={"layers": layers})


@pytest.mark.parametrize(
    ("parameters", "dim", "heads", "blocks", "depth", "total", "more", "more_activated"),
    [
        (1_880_000_000, 2048, 16, 6, 24, 27e9, 25.2e9, 0.20e9),
        (9_800_000_000, 4096, 32, 8, 32, 143e9, 134e9, 1.07e9),
    ],
)
def test_glam_at_100m_becomes_the_papers_1b_and_8b(
    parameters: int,
    dim: int,
    heads: int,
    blocks: int,
    depth: int,
    total: float,
    more: float,
    more_activated: float,
) -> None:
    scaled = scaled_to(block("glam"), HUNDRED, Target(parameters=parameters, model_dim=dim))
    genome, proxy = scaled.genome, scaled.proxy
    assert (genome.model_dim, proxy.blocks, proxy.experts) == (dim, blocks, 64)
    attentions = [layer for layer in genome.layers if layer.kind == "attention"]
    assert proxy.blocks * len(attentions) == depth
    assert {layer.heads for layer in attentions} == {heads}
    assert proxy.head_dim == 128
    assert {layer.hidden_dim for layer in genome.layers if layer.kind != "attention"} == {4 * dim}
    plain = dense(genome)
    found = non_embedding_parameters(genome, proxy)
    assert found == pytest.approx(total, rel=0.03)
    assert found - non_embedding_parameters(plain, proxy) == pytest.approx(more, rel=0.01)
    met = activated_parameters(genome, proxy) - activated_parameters(plain, proxy)
    # 1%, or half of the last digit that the table gives.
    assert met == pytest.approx(more_activated, rel=0.01, abs=0.005e9)


@pytest.mark.parametrize("size", [100_000_000, 10**9, 8 * 10**9])
@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("space", ["nano", "brainformer-100m32e"])
def test_every_block_reaches_the_usual_sizes_in_a_usual_shape(
    name: str, space: str, size: int
) -> None:
    scaled = scaled_to(block(name, space), load_proxy(space), target_of_size(size))
    assert abs(scaled.missed) <= 0.05
    assert scaled.activated == activated_parameters(scaled.genome, scaled.proxy)
    assert 32 <= scaled.aspect_ratio <= 256
    assert scaled.genome.model_dim % 64 == 0
    for layer in scaled.genome.layers:
        if layer.kind == "attention":
            assert layer.heads < 5 or layer.heads % 2 == 0
        else:
            assert layer.hidden_dim % 64 == 0


def test_what_belongs_to_the_target_is_not_taken_from_the_proxy() -> None:
    target = target_of_size(10**9)
    proxy = scaled_to(block("glam", "nano"), NANO, target).proxy
    assert (proxy.sequence_length, proxy.batch_size, proxy.head_dim) == (1024, 512, 128)
    assert proxy.rope_base == 10_000  # nano's 100 goes with its short rows
    assert (proxy.experts, proxy.vocab_size, proxy.optimizer) == (64, 32_768, "adam")
    kept = {"schedule", "budget_seconds", "dataset", "validation_tokens", "clock", "gradient_clip"}
    for name in kept:
        assert getattr(proxy, name) == getattr(NANO, name)


def test_other_data_brings_its_vocabulary_and_forgets_the_old_hash() -> None:
    known = NANO.model_copy(update={"dataset_hash": "0" * 64})
    target = Target(parameters=10**8, dataset="books", vocab_size=50_000)
    proxy = scaled_to(block("glam", "nano"), known, target).proxy
    assert (proxy.dataset, proxy.vocab_size, proxy.dataset_hash) == ("books", 50_000, None)
    same = scaled_to(block("glam", "nano"), known, Target(parameters=10**8)).proxy
    assert (same.dataset_hash, same.vocab_size) == ("0" * 64, NANO.vocab_size)


@pytest.mark.parametrize(("width", "rate"), [(768, 6e-4), (2048, 2.25e-4), (4096, 1.125e-4)])
def test_the_learning_rate_falls_with_the_width(width: int, rate: float) -> None:
    assert LearningRate().at(width) == pytest.approx(rate)


def test_a_target_that_nothing_reaches_is_refused_with_what_is_nearest() -> None:
    with pytest.raises(InvalidSpec, match=r"nothing comes within 5% of 100K .* nearest is d=12\d"):
        scaled_to(block("glam", "nano"), NANO, target_of_size(100_000))
    # Six blocks are 3.5% below 1.88B, and 12% above this.
    with pytest.raises(InvalidSpec, match=r"at d=2048; nearest is d=2048, 5 blocks"):
        scaled_to(block("glam"), HUNDRED, Target(parameters=1_620_000_000, model_dim=2048))
    with pytest.raises(InvalidSpec, match="aspect ratio"):
        scaled_to(block("glam"), HUNDRED, Target(parameters=10**9, model_dim=64))


@pytest.mark.parametrize("name", ["glam", "primer", "brainformer_1_approximation"])
def test_no_size_between_a_million_and_a_trillion_is_out_of_reach(name: str) -> None:
    found = block(name, "nano")
    for doubled in range(40):
        size = round(1.5e6 * 2 ** (doubled / 2))
        scaled = scaled_to(found, NANO, target_of_size(size))
        assert abs(scaled.missed) <= 0.05, size


def test_a_shape_that_its_batch_cannot_train_is_refused() -> None:
    routed = block("expert_gating_glam")
    with pytest.raises(InvalidGenome, match="so that every expert has a token"):
        scaled_to(routed, HUNDRED, Target(parameters=10**9, batch_size=8))


def test_compound_scaling_grows_depth_and_width_together() -> None:
    found = block("glam")
    target = target_of_size(10**9).model_copy(update={"method": "compound", "experts": 32})
    scaled = scaled_to(found, HUNDRED, target)
    assert abs(scaled.missed) <= 0.05
    assert scaled.proxy.blocks > HUNDRED.blocks
    assert scaled.genome.model_dim > found.model_dim


def test_a_target_is_read_from_yaml_and_its_faults_name_their_lines() -> None:
    target = parse_target("parameters: 1000000000\nmodel_dim: 2048\nlearning_rate: {rate: 0.001}\n")
    assert (target.model_dim, target.learning_rate.rate) == (2048, 0.001)
    with pytest.raises(InvalidSpec, match=r"line 2"):
        parse_target("parameters: 1000\nmodel_dim: -1\n")
    with pytest.raises(InvalidSpec, match="not YAML"):
        parse_target("[")
    with pytest.raises(InvalidSpec, match="needs its tokenizer's vocab_size"):
        parse_target("parameters: 1000\ndataset: books\n")


def test_a_shape_tells_itself() -> None:
    one = Scaled(block("glam"), Proxy(), 1_810_000_000, -0.035)
    told = "d=768, 3 blocks of 8 sub-layers, 1.81B activated parameters, 3.5% below the target"
    assert str(one) == told
