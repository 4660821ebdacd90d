"""What happens before the first step: the mesh, the compiled program, and the state to begin with.

jax must have been told what `prepare_process` says before this is imported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from pydantic import ValidationError

from brainformer.model.config import ModelConfig
from brainformer.model.sharding import check_mesh
from brainformer.search.cost.cost import memory_bytes
from brainformer.search.cost.mesh_rule import choose_mesh
from brainformer.search.errors import EnvironmentProblem, InvalidMesh
from brainformer.search.export.provenance import Provenance
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.validation import first_problem
from brainformer.worker.devices.device_memory import memory_limit_bytes
from brainformer.worker.devices.placement import Placement
from brainformer.worker.export.weighted_model import WeightedModel, weighted
from brainformer.worker.pretraining.manifest import CheckpointManifest, read_manifest
from brainformer.worker.pretraining.plan import TrainingPlan
from brainformer.worker.pretraining.run_folder import read_checkpoint
from brainformer.worker.timing.clock import Clock
from brainformer.worker.training.layout import TrainingState, lay_out, split_model
from brainformer.worker.training.program import (
    Program,
    compile_program,
    portable_shapes,
)


def compiled(
    plan: TrainingPlan, *, mesh: MeshAxes | None, clock: Clock, cache_folder: Path | None
) -> Program:
    """Returns the run's compiled program on all devices that jax finds.

    Blocks are computed again in the backward pass where the step would not fit otherwise.

    Args:
        plan: The run.
        mesh: Devices along each axis; None for the rule of docs/devices.md.
        clock: Measures the compilation.
        cache_folder: Keeps compiled programs between processes.

    Raises:
        InvalidMesh: the devices have no such mesh, or it does not divide the model.
        InvalidGenome: the shapes do not work with the genome.
        EnvironmentProblem: the step does not fit in memory.
    """
    device = jax.devices()[0]
    config = ModelConfig.of_proxy(plan.genome, plan.proxy, platform=device.platform)
    placement = Placement.on(_axes(plan, mesh, device))
    if placement.mesh is not None:
        check_mesh(config, placement.mesh)
    limit, needed = memory_limit_bytes(device), 0
    for remat in (False, True):
        try:
            program = compile_program(
                replace(config, remat=remat or plan.proxy.remat == "always"),
                plan.proxy,
                seed=plan.seed,
                clock=clock,
                cache_folder=cache_folder,
                placement=placement,
                rate_of=lambda rate: rate,
            )
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            continue
        needed = program.memory_bytes
        if needed <= limit:
            return program
    raise EnvironmentProblem(
        f"a training step needs {needed / 2**30:.2f} GiB of each device even when blocks are "
        f"computed again, a device offers {limit / 2**30:.2f} GiB",
        "choose a smaller --batch-size, more devices, or another --mesh",
    )


def _axes(plan: TrainingPlan, mesh: MeshAxes | None, device: jax.Device) -> MeshAxes:
    proxy = plan.proxy if mesh is None else _on_mesh(plan.proxy, mesh)
    limit = memory_limit_bytes(device)

    def fits(axes: MeshAxes) -> bool:
        return memory_bytes(plan.genome, proxy, platform=device.platform, mesh=axes) <= limit

    return choose_mesh(plan.genome, proxy, len(jax.devices()), fits=fits)


def _on_mesh(proxy: Proxy, mesh: MeshAxes) -> Proxy:
    try:
        return Proxy.model_validate(proxy.model_dump() | {"mesh": mesh.model_dump()})
    except ValidationError as error:
        raise InvalidMesh(first_problem(error).rule, str(mesh)) from None


def initial_state(program: Program, model: WeightedModel | None) -> TrainingState:
    """Returns the state of a new run: drawn from the seed, or with the weights of a model.

    Raises:
        InvalidExport: the weights are not those of the block.
    """
    state = program.initial()
    if model is None:
        return state
    _, parameters, routing = split_model(model.decoder())

    def placed(value: Any, drawn: Any) -> Any:
        return jax.device_put(value, drawn.sharding)

    return TrainingState(
        jax.tree.map(placed, parameters, state.parameters),
        state.optimizer_state,
        jax.tree.map(placed, routing, state.routing),
    )


def state_of(program: Program, checkpoint: Path) -> TrainingState:
    """Returns the state of a checkpoint, where the program wants it.

    Raises:
        InvalidCheckpoint: it is damaged, or of another model.
    """
    saved: TrainingState = read_checkpoint(checkpoint, program.portable_shapes)
    if program.placement.mesh is None:
        saved = jax.tree.map(jax.numpy.array, program.restored(saved))
    return saved


def model_of(checkpoint: Path) -> WeightedModel:
    """Returns the model in a checkpoint, as exports have it.

    Raises:
        NotFound: there is no such folder.
        InvalidCheckpoint: it is damaged, or of another model.
    """
    manifest = read_manifest(checkpoint)
    plan = manifest.plan
    config = ModelConfig.of_proxy(plan.genome, plan.proxy, platform="cpu")
    layout = lay_out(config, plan.proxy, Placement())
    saved: TrainingState = read_checkpoint(
        checkpoint, portable_shapes(layout.shapes, layout.optimizer)
    )
    parameters, routing = jax.tree.map(jax.numpy.array, (saved.parameters, saved.routing))
    return weighted(
        plan.genome, plan.proxy, parameters, routing, provenance=provenance_of(manifest)
    )


def provenance_of(manifest: CheckpointManifest) -> Provenance:
    """Returns where the weights of a checkpoint come from."""
    plan = manifest.plan
    return plan.provenance.model_copy(
        update={
            "origin": "trained",
            "dataset": plan.proxy.dataset,
            "dataset_hash": plan.proxy.dataset_hash,
            "tokenizer": plan.tokenizer,
            "tokenizer_sha256": plan.tokenizer_sha256,
            "seed": plan.seed,
            "steps": manifest.step,
            "tokens": manifest.tokens,
            "validation_loss": manifest.validation_loss,
        }
    )
