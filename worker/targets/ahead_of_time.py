"""Compiles a training step for a slice of TPU chips, or for the GPU at hand, without running it.

libtpu's compiler needs no TPU: it compiles for a described topology, and tells that every operation
lowers, the memory of each device, FLOPs, bytes and collectives.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

from pydantic import BaseModel, ConfigDict

from brainformer.search.errors import EnvironmentProblem, InvalidMesh
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.worker.targets.account import Account, account_of, refused_account
from brainformer.worker.targets.hardware import Target, parse_target

MOST_SECONDS = 3600.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class CompileRequest(BaseModel):
    """What is compiled.

    Attributes:
        target: As `parse_target` reads it.
        remat: Whether blocks are computed again in the backward pass.
        scan: Whether the blocks are scanned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    genome: Genome
    proxy: Proxy
    target: str
    mesh: MeshAxes
    remat: bool = False
    scan: bool = False


def compile_ahead_of_time(request: CompileRequest) -> Account:
    """Returns the account of the request's training step, compiled in a process of its own.

    Raises:
        EnvironmentProblem: libtpu is not installed, or the compiler ended otherwise than by a
            program or a word about memory.
    """
    target, environment = parse_target(request.target), dict(os.environ)
    if target.platform == "tpu":
        environment |= tpu_environment(target)
    command = [sys.executable, "-P", "-m", "brainformer.worker.targets.ahead_of_time"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            input=request.model_dump_json(),
            env=environment,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        what = f"the compiler did not end within {MOST_SECONDS:.0f} s"
        raise EnvironmentProblem(what, "compile a smaller model") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        words = [line for line in done.stderr.strip().splitlines() if line.strip()]
        why = words[-1].strip() if words else f"status {done.returncode}"
        advice = "choose another genome, mesh or target"
        raise EnvironmentProblem(f"the compiler failed: {why[:500]}", advice)
    answer = json.loads(lines[-1])
    if "refused" in answer:
        raise InvalidMesh(answer["refused"])
    return Account.parse(answer)


def tpu_environment(target: Target) -> dict[str, str]:
    """Returns the variables that libtpu wants before jax loads, on a machine without a TPU.

    Raises:
        EnvironmentProblem: libtpu is not installed.
    """
    if find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in os.environ:
        raise EnvironmentProblem(
            "libtpu, the compiler for TPUs, is not installed",
            "pip install 'brainformer-search[tpu]', or set TPU_LIBRARY_PATH to its libtpu.so",
        )
    return {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": f"{target.generation}-{max(8, target.chips)}",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }


def compile_here(request: CompileRequest) -> Account:
    """Returns the account; the environment is set and jax not loaded yet."""
    import jax

    from brainformer.model.config import ModelConfig
    from brainformer.model.sharding import make_mesh
    from brainformer.worker.devices.placement import Placement
    from brainformer.worker.training.layout import compile_step, lay_out
    from brainformer.worker.training.program import memory_bytes_of

    axes = request.mesh
    mesh = make_mesh(
        data=axes.data, expert=axes.expert, model=axes.model, devices=_devices(request)
    )
    placement = Placement(mesh)
    config = ModelConfig.of_proxy(request.genome, request.proxy, platform=placement.platform)
    config = dataclasses.replace(config, remat=request.remat, scan=request.scan)
    start = time.perf_counter()
    try:
        compiled = compile_step(lay_out(config, request.proxy, placement), placement)
    except jax.errors.JaxRuntimeError as error:
        refused = refused_account(str(error))
        if refused is None:
            raise
        seconds = time.perf_counter() - start
        return dataclasses.replace(refused, compile_seconds=seconds)
    seconds = time.perf_counter() - start
    return account_of(compiled, memory_bytes_of(compiled.memory_analysis()), seconds)


def _devices(request: CompileRequest) -> list[Any]:
    """Returns as many devices of the target as the mesh has."""
    import jax

    target, count = parse_target(request.target), request.mesh.devices
    if target.platform == "tpu":
        from jax.experimental import topologies

        described = topologies.get_topology_desc(platform="tpu", topology_name=target.topology)
        return list(described.devices[:count])
    there = [device for device in jax.devices() if device.platform == "gpu"]
    if len(there) < count:
        raise InvalidMesh(
            f"the target {target.name} is compiled on GPUs of this machine, which has {len(there)}"
        )
    return there[:count]


def main() -> None:
    """Reads a request from standard input and writes the account as its last line."""
    if sys.platform.startswith("linux"):  # a compiler takes minutes of all cores, asked for or not
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        answer = compile_here(CompileRequest.model_validate_json(sys.stdin.read())).plain()
    except InvalidMesh as error:
        answer = {"refused": error.message}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
