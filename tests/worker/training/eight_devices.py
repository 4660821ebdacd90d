"""Run in a process with eight devices: what trials on meshes do, against one device, as JSON.

python -m tests.worker.training.eight_devices dense-adam-data resumed-adam-one-all shares probes

The devices may be those of two processes, of which the first one tells:
--coordinator HOST:PORT --host 0, and the same with --host 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainformer.model.causality import forward_function, probe
from brainformer.model.config import ModelConfig
from brainformer.model.sharding import make_mesh
from brainformer.search.errors import InvalidMesh
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.trials.lease_messages import Directive
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.devices.compiler_options import dispatch_in_order
from brainformer.worker.devices.joining import join
from brainformer.worker.devices.placement import Placement
from brainformer.worker.timing.clock import SystemClock
from brainformer.worker.training.checkpoint import SavedProgress, restore_state, save_checkpoint
from brainformer.worker.training.program import Program, compile_program
from brainformer.worker.training.proxy_training import train_proxy
from tests.worker.leases import make_lease

STEPS = 20
MESHES = {
    "data": MeshAxes(data=8),
    "expert": MeshAxes(data=2, expert=4),
    "all": MeshAxes(data=2, expert=2, model=2),
}
ATTENTION = {"kind": "attention", "heads": 4}
DENSE = {"kind": "feed_forward", "hidden_dim": 160, "activation": "gated_gelu"}
MOE = {"kind": "moe", "hidden_dim": 136, "activation": "gelu"}
BLOCKS = {
    "dense": [ATTENTION, DENSE],
    "top_2": [ATTENTION, {**MOE, "gating": "top_2", "capacity_factor": 2}],
    "expert_choice": [ATTENTION, DENSE, {**MOE, "gating": "expert_choice", "capacity_factor": 1}],
    "dropless": [ATTENTION, {**MOE, "gating": "top_1", "capacity_factor": 0}],
}
PROGRESS = SavedProgress(digest="d", seed=0, steps=0, total_steps=None, training_seconds=0)


def genome_of(name: str) -> Genome:
    return parse_genome({"model_dim": 128, "layers": BLOCKS[name]})


def proxy_of(**changes: Any) -> Proxy:
    shapes = {
        "blocks": 2,
        "experts": 4,
        "head_dim": 8,
        "sequence_length": 12,
        "batch_size": 16,
        "vocab_size": 32,
        "optimizer": "adam",
        "peak_learning_rate": 0.003,
    }
    return Proxy(**(shapes | changes))


def compiled(genome: Genome, proxy: Proxy, placement: Placement) -> Program:
    config = ModelConfig.of_proxy(genome, proxy, platform="cpu")
    return compile_program(
        config, proxy, seed=3, clock=SystemClock(), cache_folder=None, placement=placement
    )


def placement_of(axes: MeshAxes) -> Placement:
    return Placement(make_mesh(data=axes.data, expert=axes.expert, model=axes.model))


def batch(proxy: Proxy, step: int) -> np.ndarray:
    rng = np.random.default_rng([7, step])
    shape = (proxy.batch_size, proxy.sequence_length + 1)
    # Half of the tokens follow from those before them, so that there is something to learn.
    tokens = rng.integers(0, proxy.vocab_size, shape, dtype=np.int32)
    tokens[:, 1::2] = tokens[:, :-1:2]
    return tokens


def trained(
    program: Program, proxy: Proxy, *, state: Any = None, steps: range = range(STEPS)
) -> tuple[Any, list[float]]:
    """Returns the state and the losses of training, and of evaluation at the end."""
    state = program.initial() if state is None else state
    losses = []
    for step in steps:
        fraction = np.float32((step + 0.5) / STEPS)
        state, metrics = program.step(state, batch(proxy, step), fraction)
        losses.append(float(metrics.cross_entropy))
    losses.append(float(np.mean(program.evaluate(state, batch(proxy, 999)).losses)))
    return state, losses


def worst(one: list[float], other: list[float]) -> float:
    return max(abs(a / b - 1) for a, b in zip(one, other, strict=True))


@cache
def alone(name: str, optimizer: str) -> list[float]:
    proxy = proxy_of(optimizer=optimizer)
    losses = trained(compiled(genome_of(name), proxy, Placement()), proxy)[1]
    assert losses[-1] < losses[0] - 0.1, losses  # it learns
    return losses


def deviation(name: str, optimizer: str, mesh: str) -> float:
    """Returns the largest relative difference of any loss on the mesh from one device."""
    proxy = proxy_of(optimizer=optimizer)
    program = compiled(genome_of(name), proxy, placement_of(MESHES[mesh]))
    return worst(trained(program, proxy)[1], alone(name, optimizer))


def resumed(optimizer: str, first: Placement, second: Placement) -> float:
    """Returns how far losses go apart when a trial goes on on another mesh."""
    genome, proxy = genome_of("expert_choice"), proxy_of(optimizer=optimizer)
    before, after = compiled(genome, proxy, first), compiled(genome, proxy, second)
    _, straight = trained(before, proxy)
    state, _ = trained(before, proxy, steps=range(10))
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), before.portable(state), PROGRESS)
        saved = restore_state(Path(folder), after.portable_shapes, arrays="arrays-a")
    assert saved is not None
    _, losses = trained(after, proxy, state=after.restored(saved), steps=range(10, STEPS))
    return worst(losses, straight[10:])


def shares() -> dict[str, float]:
    """Returns the share of parameters and of optimiser state that one device is born with."""
    genome, proxy = genome_of("top_2"), proxy_of(optimizer="adam")
    state = compiled(genome, proxy, placement_of(MESHES["expert"])).initial()
    device = jax.devices()[0]

    def share(tree: Any) -> float:
        leaves = jax.tree.leaves(tree)
        mine = sum(
            shard.data.nbytes
            for leaf in leaves
            for shard in leaf.addressable_shards
            if shard.device == device
        )
        return mine / sum(leaf.nbytes for leaf in leaves)

    return {"parameters": share(state.parameters), "optimizer": share(state.optimizer_state)}


def probes() -> dict[str, bool]:
    """Returns the verdicts of the causality probe on a mesh, of a sound and of a leaking model."""
    placement, verdicts = placement_of(MESHES["expert"]), {}
    for routing in ("causal", "paper"):
        proxy = proxy_of(routing=routing, sequence_length=64)
        program = compiled(genome_of("expert_choice"), proxy, placement)
        with placement.tracing():
            decoder = program.decoder(program.initial())
            verdicts[routing] = probe(
                decoder,
                key=jax.random.key(0),
                batch_size=placement.rows_for(4),
                forward=placement.forward(forward_function(decoder, training=False)),
            ).causal
    return verdicts


def whole_trial() -> dict[str, Any]:
    """Returns what `train_proxy` makes of a trial on all devices: its mesh and its losses."""
    result = train_proxy(
        make_lease(proxy={"batch_size": 16}),
        on_progress=lambda progress: Directive(action="continue"),
        data=open_dataset("python-stdlib"),
        recorded_steps=STEPS,
    )
    measured = result.measurements
    return {
        "outcome": result.outcome,
        "mesh": measured.mesh.model_dump() if measured.mesh else None,
        "hosts": measured.hosts,
        "losses": [point.validation_loss for point in measured.curve],
    }


def refused_trial() -> str:
    """Returns how a trial is refused whose rows these devices cannot share."""
    try:
        train_proxy(
            make_lease(proxy={"batch_size": 12}),
            on_progress=lambda progress: Directive(action="continue"),
            data=open_dataset("python-stdlib"),
        )
    except InvalidMesh as error:
        return error.message
    return "not refused"


def result(case: str) -> Any:
    whole = {"shares": shares, "probes": probes, "trial": whole_trial, "refused": refused_trial}
    if case in whole:
        return whole[case]()
    kind, *parts = case.split("-")
    if kind == "resumed":
        meshes = {name: placement_of(axes) for name, axes in MESHES.items()} | {"one": Placement()}
        optimizer, first, second = parts
        return resumed(optimizer, meshes[first], meshes[second])
    return deviation(kind, *parts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--coordinator")
    parser.add_argument("--host", type=int, default=0)
    options = parser.parse_args()
    if options.coordinator:
        join(options.coordinator, 2, options.host, remedy="")
        dispatch_in_order()
    assert len(jax.devices()) == 8
    found = {case: result(case) for case in options.cases}
    if options.host == 0:
        sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
