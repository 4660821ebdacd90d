"""Training steps compiled for TPUs on a machine without one; the slow tests need libtpu.

`make test-slow` puts it into a folder of its own and sets TPU_LIBRARY_PATH.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from brainformer.search.cost.mesh_rule import choose_mesh
from brainformer.search.errors import EnvironmentProblem, InvalidMesh
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.worker.targets import ahead_of_time
from brainformer.worker.targets.ahead_of_time import (
    CompileRequest,
    compile_ahead_of_time,
    tpu_environment,
)
from brainformer.worker.targets.hardware import Target, parse_target

ASKS = """
import sys
from brainformer.worker.targets.ahead_of_time import CompileRequest, compile_ahead_of_time

asked = CompileRequest.model_validate_json(sys.argv[2])
sys.executable = sys.argv[1]
compile_ahead_of_time(asked)
"""
HANGS = """
import os, pathlib, time
from brainformer.worker.targets import ahead_of_time

def hang(request):
    pathlib.Path(os.environ["STARTED"]).write_text(str(os.getpid()) + chr(10))
    time.sleep(60)

ahead_of_time.compile_here = hang
ahead_of_time.main()
"""


def wait_until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def request(block, target, **changes):
    genome = zoo_genome(block, load_preset("nano"))
    proxy = load_proxy("nano").model_copy(update=changes)
    mesh = choose_mesh(genome, proxy, parse_target(target).chips)
    return CompileRequest(genome=genome, proxy=proxy, target=target, mesh=mesh)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", ["dense_transformer", "glam", "expert_gating_glam"])
def test_a_step_compiles_for_one_chip_and_for_a_slice(block):
    one = compile_ahead_of_time(request(block, "tpu-v6e-1"))
    eight = compile_ahead_of_time(request(block, "tpu-v6e-8"))

    assert one.collectives == {}
    assert one.limit_bytes is None
    # Each chip has an eighth of the rows, and what all of them compute is small.
    assert eight.flops < 0.25 * one.flops
    assert eight.collectives["all-reduce"].count > 0
    assert ("all-gather" in eight.collectives) == (block != "dense_transformer")
    assert min(one.memory_bytes, eight.memory_bytes) > 1e6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_groups_of_rows_reach_their_experts_by_all_to_all():
    account = compile_ahead_of_time(request("expert_gating_glam", "tpu-v6e-8", routing_groups=8))

    assert account.collectives["all-to-all"].count > 0


def test_without_the_compiler_the_refusal_says_how_to_get_it(monkeypatch):
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(ahead_of_time, "find_spec", lambda name: None)

    with pytest.raises(EnvironmentProblem, match=r"libtpu.*brainformer-search\[tpu\]"):
        tpu_environment(Target("v6e", 8))


def test_a_library_that_is_not_one_is_an_error_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("TPU_LIBRARY_PATH", str(tmp_path / "libtpu.so"))

    with pytest.raises(EnvironmentProblem) as caught:
        compile_ahead_of_time(request("dense_transformer", "tpu-v6e-1"))

    assert "the compiler failed" in caught.value.message
    assert "Traceback" not in caught.value.message


def test_a_compiler_that_hangs_is_ended(monkeypatch, tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec sleep 60\n", "utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(ahead_of_time, "MOST_SECONDS", 0.2)
    monkeypatch.setenv("TPU_LIBRARY_PATH", "there")

    with pytest.raises(EnvironmentProblem, match="did not end within"):
        compile_ahead_of_time(request("dense_transformer", "tpu-v6e-1"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone can tell a child")
def test_the_compiler_ends_with_whoever_asked(tmp_path):
    compiler = tmp_path / "python"
    compiler.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{HANGS}'\n", "utf-8")
    compiler.chmod(0o755)
    asked = request("dense_transformer", "tpu-v6e-1").model_dump_json()
    there = {**os.environ, "TPU_LIBRARY_PATH": "there", "STARTED": str(tmp_path / "started")}
    parent = subprocess.Popen([sys.executable, "-c", ASKS, str(compiler), asked], env=there)
    try:
        started = Path(there["STARTED"])
        wait_until(lambda: started.exists() and started.read_text("utf-8").endswith("\n"))
        child = psutil.Process(int(started.read_text("utf-8")))
    finally:
        parent.kill()
        parent.wait()
    child.wait(timeout=10)


@pytest.mark.slow
def test_gpus_that_are_not_here_are_refused(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")

    with pytest.raises(InvalidMesh, match=r"GPUs of this machine, which has 0$"):
        compile_ahead_of_time(request("dense_transformer", "gpu-1"))
