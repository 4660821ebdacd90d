"""A program for the devices that jax finds: their mesh, and blocks computed again if they must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax

from brainformer.model.config import ModelConfig
from brainformer.model.sharding import check_mesh
from brainformer.search.cost.cost import memory_bytes
from brainformer.search.cost.mesh_rule import choose_mesh
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.worker.devices.device_memory import memory_limit_bytes
from brainformer.worker.devices.placement import Placement
from brainformer.worker.timing.clock import Clock
from brainformer.worker.training.layout import RateOf
from brainformer.worker.training.program import Program, compile_program


def mesh_here(genome: Genome, proxy: Proxy) -> MeshAxes:
    """Returns the mesh of all devices that jax finds, by the rule or as the proxy says.

    Raises:
        InvalidMesh: they have none for this model.
    """
    device = jax.devices()[0]
    limit = memory_limit_bytes(device)

    def fits(axes: MeshAxes) -> bool:
        return memory_bytes(genome, proxy, platform=device.platform, mesh=axes) <= limit

    return choose_mesh(genome, proxy, len(jax.devices()), fits=fits)


def compile_here(
    genome: Genome,
    proxy: Proxy,
    axes: MeshAxes,
    *,
    seed: int,
    clock: Clock,
    cache_folder: Path | None,
    remat: bool = False,
    whole_evaluation: bool = False,
    rate_of: RateOf | None = None,
) -> Program:
    """Returns the compiled program on a mesh of the devices that jax finds.

    Args:
        genome: The block.
        proxy: Its shapes and its optimiser.
        axes: See `mesh_here`.
        seed: See `compile_program`, as for what follows.
        clock: Measures the compilation.
        cache_folder: Keeps compiled programs between processes.
        remat: Whether blocks are computed again in the backward pass, whatever the proxy says.
        whole_evaluation: Whether the evaluation must be one program.
        rate_of: See `lay_out`.

    Raises:
        InvalidMesh: the devices have no such mesh, or it does not divide the model.
    """
    config = ModelConfig.of_proxy(genome, proxy, platform=jax.devices()[0].platform)
    placement = Placement.on(axes)
    if placement.mesh is not None:
        check_mesh(config, placement.mesh)
    return compile_program(
        replace(config, remat=remat or proxy.remat == "always"),
        proxy,
        seed=seed,
        clock=clock,
        cache_folder=cache_folder,
        placement=placement,
        whole_evaluation=whole_evaluation,
        rate_of=rate_of,
    )


def first_that_fits(
    compiled: Callable[[bool], Program], limit_bytes: int
) -> tuple[Program | None, int]:
    """Returns the program, with blocks computed again if it does not fit otherwise.

    Args:
        compiled: Compiles it; told whether blocks are to be computed again.
        limit_bytes: What each device offers.

    Returns:
        The program, None if none fits; and the bytes of each device that the last one needs. More
        than the limit is all that is known where the compiler itself refuses.
    """
    needed = limit_bytes + 1
    for remat in (False, True):
        try:
            program = compiled(remat)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            continue
        needed = program.memory_bytes
        if needed <= limit_bytes:
            return program, needed
    return None, needed
