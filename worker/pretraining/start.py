"""What happens before the first step: the mesh, the compiled program, and the state to begin with.

jax must have been told what `prepare_process` says before this is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
from pydantic import ValidationError

from brainformer.model.config import ModelConfig
from brainformer.search.errors import EnvironmentProblem, InvalidMesh
from brainformer.search.export.provenance import Provenance
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.validation import first_problem
from brainformer.worker.devices.device_memory import memory_limit_bytes
from brainformer.worker.devices.hosts import Hosts, OneHost
from brainformer.worker.devices.placement import Placement
from brainformer.worker.export.weighted_model import WeightedModel, weighted
from brainformer.worker.pretraining.manifest import CheckpointManifest, read_manifest
from brainformer.worker.pretraining.plan import TrainingPlan
from brainformer.worker.pretraining.run_folder import read_checkpoint
from brainformer.worker.timing.clock import Clock
from brainformer.worker.training.fitting import compile_here, first_that_fits, mesh_here
from brainformer.worker.training.layout import TrainingState, lay_out, split_model
from brainformer.worker.training.program import Program, portable_shapes


def compiled(
    plan: TrainingPlan,
    *,
    mesh: MeshAxes | None,
    clock: Clock,
    cache_folder: Path | None,
    hosts: Hosts | None = None,
) -> Program:
    """Returns the run's compiled program on all devices that jax finds.

    Blocks are computed again in the backward pass where the step would not fit otherwise.

    Args:
        plan: The run.
        mesh: Devices along each axis; None for the rule of docs/devices.md.
        clock: Measures the compilation.
        cache_folder: Keeps compiled programs between processes.
        hosts: Of the run; the first one's memory decides for all.

    Raises:
        InvalidMesh: the devices have no such mesh, or it does not divide the model.
        InvalidGenome: the shapes do not work with the genome.
        EnvironmentProblem: the step does not fit in memory.
    """
    limit = (hosts or OneHost()).agree(lambda: memory_limit_bytes(jax.devices()[0]))
    proxy = plan.proxy if mesh is None else _on_mesh(plan.proxy, mesh)
    axes = mesh_here(plan.genome, proxy)

    def compile_it(remat: bool) -> Program:
        return compile_here(
            plan.genome,
            plan.proxy,
            axes,
            seed=plan.seed,
            clock=clock,
            cache_folder=cache_folder,
            remat=remat,
            rate_of=lambda rate: rate,
        )

    program, needed = first_that_fits(compile_it, limit)
    if program is not None:
        return program
    raise EnvironmentProblem(
        f"a training step needs {needed / 2**30:.2f} GiB of each device even when blocks are "
        f"computed again, a device offers {limit / 2**30:.2f} GiB",
        "choose a smaller --batch-size, more devices, or another --mesh",
    )


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
    return program.restored(read_checkpoint(checkpoint, program.portable_shapes))


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
