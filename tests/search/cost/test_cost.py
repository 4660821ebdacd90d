"""Costs against the paper's Table 2, and genomes that cannot train."""

from __future__ import annotations

import json

import pytest

from brainformer.search.cost.cost import (
    activated_parameters,
    flops_per_token,
    memory_bytes,
    non_embedding_parameters,
    parameters,
)
from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import parse_genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import ZOO, zoo_genome
from tests.repository import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results"


def stack(model_dim, hidden_dim, heads, *, experts_in_every_other_layer):
    attention = {"kind": "attention", "heads": heads}
    dense = {"kind": "feed_forward", "hidden_dim": hidden_dim, "activation": "gated_gelu"}
    moe = {
        "kind": "moe",
        "hidden_dim": hidden_dim,
        "activation": "gelu",
        "gating": "top_2",
        "capacity_factor": 2,
    }
    other = moe if experts_in_every_other_layer else dense
    return parse_genome({"model_dim": model_dim, "layers": [attention, dense, attention, other]})


@pytest.mark.parametrize(
    ("layers", "model_dim", "hidden_dim", "heads", "head_dim", "experts", "total", "activated"),
    [
        (12, 768, 3072, 12, 64, 32, 0.86e9, 14e6),
        (24, 2048, 8192, 16, 128, 64, 25.2e9, 0.20e9),
        (32, 4096, 16384, 32, 128, 64, 134e9, 1.07e9),
    ],
)
def test_glam_minus_dense_is_the_difference_of_table_2(
    layers, model_dim, hidden_dim, heads, head_dim, experts, total, activated
):
    proxy = Proxy(blocks=layers // 2, experts=experts, head_dim=head_dim, batch_size=64)
    glam = stack(model_dim, hidden_dim, heads, experts_in_every_other_layer=True)
    dense = stack(model_dim, hidden_dim, heads, experts_in_every_other_layer=False)

    more = non_embedding_parameters(glam, proxy) - non_embedding_parameters(dense, proxy)
    met = activated_parameters(glam, proxy) - activated_parameters(dense, proxy)
    matrix = model_dim * hidden_dim
    router = model_dim * experts
    assert more == layers // 2 * ((2 * experts - 3) * matrix + router)
    assert met == layers // 2 * (matrix + router)
    assert more == pytest.approx(total, rel=0.01)
    assert met == pytest.approx(activated, rel=0.03)


def moe(gating="expert_choice", capacity_factor=1.0):
    layer = {"kind": "moe", "hidden_dim": 128, "activation": "gelu", "gating": gating}
    layer |= {"capacity_factor": capacity_factor}
    return parse_genome({"model_dim": 64, "layers": [layer]})


def test_capacity_factor_is_the_experts_that_a_token_activates():
    proxy = Proxy(experts=8, batch_size=64)
    one, three = (activated_parameters(moe(capacity_factor=c), proxy) for c in (1, 3))

    assert three - one == proxy.blocks * 2 * 2 * 64 * 128
    assert flops_per_token(moe(capacity_factor=3), proxy) > flops_per_token(moe(), proxy)


def test_embeddings_stand_apart():
    proxy = Proxy(vocab_size=1000)

    assert parameters(moe(), proxy) - non_embedding_parameters(moe(), proxy) == 2 * 1000 * 64


def test_memory_grows_with_the_batch_and_with_adam():
    small, large = Proxy(batch_size=32), Proxy(batch_size=64)

    assert memory_bytes(moe(), large) > memory_bytes(moe(), small)
    adam = Proxy(optimizer="adam")
    assert memory_bytes(moe(), adam) > memory_bytes(moe(), small)


# Bytes of the compiled training step on an H100 (benchmarks/results/gpu-step.jsonl), 32 rows.
ON_GPU = {"dense_transformer": 21.55, "glam": 36.23, "brainformer_1_approximation": 31.50}


@pytest.mark.parametrize(("name", "gib"), ON_GPU.items())
def test_memory_on_a_gpu_is_what_was_measured_there(name, gib):
    genome = parse_genome({"model_dim": 768, "layers": ZOO[name]})
    proxy = load_proxy("brainformer-100m32e").model_copy(
        update={"optimizer": "adam", "vocab_size": 32_000}
    )

    assert memory_bytes(genome, proxy, platform="gpu") / 2**30 == pytest.approx(gib, rel=0.05)
    assert memory_bytes(genome, proxy) > 1.5 * memory_bytes(genome, proxy, platform="gpu")


def test_memory_on_tpus_is_what_their_compiler_says():
    lines = (RESULTS / "tpu-compile.jsonl").read_text("utf-8").splitlines()
    told = [json.loads(line)["details"] for line in lines]
    newest = {(one["target"], name): found for one in told for name, found in one["blocks"].items()}
    proxy, space = load_proxy("brainformer-100m32e"), load_preset("brainformer-100m32e")
    off = {}
    for (target, name), found in newest.items():
        mesh, remat = MeshAxes(**found["mesh"]), found["remat"]
        genome = zoo_genome(name, space)
        wanted = memory_bytes(genome, proxy, platform="tpu", mesh=mesh, remat=remat)
        # A TPU's compiler computes again what does not fit, until it just does.
        expected = min(wanted / 2**30, found["device_memory_gib"])
        off[target, name] = expected / found["memory_gib"] - 1
        assert found["fits"]

    for generation in ("v5e", "v5p", "v6e"):
        for chips in (1, 8):
            assert {name for target, name in off if target == f"tpu-{generation}-{chips}"} == set(
                ZOO
            )
    assert max(map(abs, off.values())) < 0.15, off


# GiB of the step by v5p's compiler, which keeps more behind a gate than v6e's: four pairs of
# attention and a dense layer of that activation and rank, in the proxy at 100M.
NARROW_ON_V5P = {
    ("gated_gelu", 96): 20.827,
    ("gated_gelu", 384): 21.612,
    ("gelu", 192): 16.572,
    ("relu", 192): 16.568,
}


@pytest.mark.parametrize(("layer", "gib"), NARROW_ON_V5P.items())
def test_memory_of_narrow_matrices_on_a_tpu_is_what_its_compiler_says(layer, gib):
    activation, rank = layer
    dense = {"kind": "feed_forward", "hidden_dim": 3072, "activation": activation, "rank": rank}
    layers = [{"kind": "attention", "heads": 12}, dense] * 4
    genome = parse_genome({"model_dim": 768, "layers": layers})

    needed = memory_bytes(genome, load_proxy("brainformer-100m32e"), platform="tpu")

    assert needed / 2**30 == pytest.approx(gib, rel=0.1)


def test_experts_and_widths_are_shared_by_the_devices_of_a_mesh():
    genome = zoo_genome("glam", load_preset("brainformer-100m32e"))
    proxy = load_proxy("brainformer-100m32e")

    def gib(**axes):
        return memory_bytes(genome, proxy, platform="tpu", mesh=MeshAxes(**axes)) / 2**30

    assert gib(expert=8) < 0.25 * gib()
    assert gib(expert=8) < gib(data=2, expert=4) < gib(data=8)
    assert gib(model=2) < gib()
    assert gib(data=8) > parameters(genome, proxy) * 4 / 2**30  # all experts are on each device
    groups = proxy.model_copy(update={"routing_groups": 8})
    eight = MeshAxes(expert=8)
    assert memory_bytes(genome, groups, mesh=eight) < memory_bytes(genome, proxy, mesh=eight)


def test_memory_on_a_gpu_is_what_the_trials_of_two_searches_took_there():
    lines = (RESULTS / "gpu-search.jsonl").read_text("utf-8").splitlines()
    trials = [trial for line in lines for trial in json.loads(line)["details"]["trials"]]
    proxy = load_proxy("brainformer-100m32e")
    errors = [
        memory_bytes(parse_genome(trial["genome"]), proxy, platform="gpu")
        / (trial["compilers_gib"] * 2**30)
        - 1
        for trial in trials
    ]

    assert len(errors) == 23
    assert max(map(abs, errors)) < 0.15
    assert sum(abs(error) < 0.07 for error in errors) >= 22


@pytest.mark.parametrize(
    ("genome", "proxy", "words"),
    [
        (moe(), Proxy(experts=64, batch_size=32), ["batch_size", "32", "64", "got 1"]),
        (moe("top_1"), Proxy(experts=100, batch_size=4, sequence_length=8), ["experts", "32"]),
        (moe("top_2"), Proxy(experts=1), ["at least 2 experts"]),
        (moe(capacity_factor=9), Proxy(experts=8), ["capacity_factor", "got 9", "8"]),
        (moe("top_2", 0.001), Proxy(experts=32, batch_size=1), ["at least 1"]),
        (
            parse_genome({"model_dim": 64, "layers": [{"kind": "attention", "heads": 1024}]}),
            Proxy(head_dim=128),
            ["heads", "1024", "65536"],
        ),
        (
            parse_genome(
                {"model_dim": 64, "layers": [{"kind": "attention", "heads": 1, "conv_width": 9}]}
            ),
            Proxy(sequence_length=8),
            ["conv_width", "got 9"],
        ),
    ],
)
def test_genome_that_cannot_train_names_field_value_and_rule(genome, proxy, words):
    with pytest.raises(InvalidGenome) as caught:
        check_trainable(genome, proxy)

    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.pointer.startswith("/layers/0")


def test_paper_routing_asks_for_a_long_sequence_instead_of_a_large_batch():
    check_trainable(moe(), Proxy(experts=64, batch_size=1, routing="paper"))
    with pytest.raises(InvalidGenome, match="sequence_length"):
        check_trainable(moe(), Proxy(experts=64, sequence_length=32, routing="paper"))
