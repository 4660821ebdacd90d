"""What an account means for a target."""

import pytest

from brainformer.search.cost.cost import flops_per_token, memory_bytes
from brainformer.search.cost.mesh_rule import choose_mesh
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.worker.targets.account import Account, Collective
from brainformer.worker.targets.ahead_of_time import CompileRequest
from brainformer.worker.targets.verdict import compile_and_judge, judge

GLAM = zoo_genome("glam", load_preset("nano"))
PROXY = load_proxy("nano")
GIB = 2**30


def request(target="tpu-v6e-8", chips=8):
    return CompileRequest(
        genome=GLAM, proxy=PROXY, target=target, mesh=choose_mesh(GLAM, PROXY, chips)
    )


def test_a_bound_is_the_slowest_of_products_memory_and_links():
    moved = {"all-reduce": Collective(1, 4000.0), "all-gather": Collective(2, 4000.0)}
    account = Account(memory_bytes=GIB, hbm_bytes=1.64e9, collectives=moved)

    verdict = judge(request(), account)

    tokens = PROXY.batch_size * PROXY.sequence_length
    assert verdict.useful_flops == flops_per_token(GLAM, PROXY) * tokens / 8
    assert verdict.bound.parts["memory"] == pytest.approx(1e-3)
    assert verdict.bound.parts["links"] == pytest.approx(20e-3)
    assert verdict.bound.by == "links"
    assert verdict.plain()["bound_ms"] == 20.0


def test_a_step_fits_in_what_the_chip_has_or_the_compiler_allows():
    assert judge(request(), Account(memory_bytes=31 * GIB)).fits
    assert not judge(request(), Account(memory_bytes=33 * GIB)).fits
    refused = judge(request(), Account(memory_bytes=32 * GIB, limit_bytes=31 * GIB))
    assert not refused.fits
    assert refused.bound is None
    assert refused.plain()["device_memory_gib"] == 31


def test_the_estimate_is_the_targets_and_one_devices():
    one, eight = judge(request("v6e-1", 1), Account(GIB)), judge(request(), Account(GIB))

    assert one.estimate_bytes == memory_bytes(GLAM, PROXY, platform="tpu")
    assert eight.estimate_bytes < 0.5 * one.estimate_bytes


def test_what_does_not_fit_is_tried_with_blocks_computed_again():
    asked = []

    def compiler(one):
        asked.append(one.remat)
        return Account(memory_bytes=(10 if one.remat else 40) * GIB)

    verdicts = compile_and_judge(request(), compiler=compiler)

    assert asked == [False, True]
    assert [verdict.fits for verdict in verdicts] == [False, True]
    assert len(compile_and_judge(request(), remat=True, compiler=compiler)) == 1
    assert not compile_and_judge(request(), remat=False, compiler=compiler)[-1].fits


def test_a_gpu_without_known_rates_has_no_bound():
    verdict = judge(request("gpu", 1), Account(memory_bytes=GIB))

    assert verdict.fits
    assert verdict.plain()["bound_ms"] is None
