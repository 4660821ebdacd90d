"""The rule that gives a trial its mesh (docs/devices.md).

The expert axis is the largest divisor of the devices that divides `experts`, the rest is data. The
model axis stays 1, and doubles only while a trial would not fit in memory otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from brainformer.search.errors import InvalidMesh
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome

# The field of each kind of sub-layer that the model axis splits.
SPLIT_FIELDS = {"attention": "heads", "feed_forward": "hidden_dim", "moe": "hidden_dim"}


def choose_mesh(
    genome: Genome,
    proxy: Proxy,
    devices: int,
    *,
    fits: Callable[[MeshAxes], bool] | None = None,
) -> MeshAxes:
    """Returns the proxy's own mesh, or the one that the rule gives these devices.

    Args:
        genome: The block.
        proxy: What all trials share.
        devices: How many the slot has.
        fits: Whether a trial fits in each device's memory on a mesh; without it, it does.

    Raises:
        InvalidMesh: the mesh that the proxy names is not these devices, or does not divide the
            genome; or no mesh of these devices divides rows and experts.
    """
    if isinstance(proxy.mesh, MeshAxes):
        if proxy.mesh.devices != devices:
            rule = f"the mesh must have as many devices as the slot ({devices})"
            raise InvalidMesh(rule, str(proxy.mesh), "/mesh")
        check_widths(genome, proxy.mesh)
        return proxy.mesh
    found = _by_rule(genome, proxy, devices, 1)
    model = 2
    while fits is not None and not fits(found) and devices % model == 0:
        wider = _by_rule(genome, proxy, devices, model)
        if not _splits_widths(genome, model):
            break
        found, model = wider, 2 * model
    return found


def _by_rule(genome: Genome, proxy: Proxy, devices: int, model: int) -> MeshAxes:
    shards = devices // model
    if proxy.batch_size % shards:
        raise InvalidMesh(
            f"batch_size must be a multiple of the devices that share the rows ({shards}): too "
            "few rows for the data axis; choose another batch_size, fewer devices or a mesh",
            proxy.batch_size,
            "/batch_size",
        )
    if proxy.routing_groups > 1 and proxy.routing_groups % shards:
        rule = f"routing_groups must be 1 or a multiple of data x expert ({shards})"
        raise InvalidMesh(rule, proxy.routing_groups, "/routing_groups")
    routed = any(layer.kind == "moe" for layer in genome.layers)
    expert = math.gcd(shards, proxy.experts) if routed else 1
    return MeshAxes(data=shards // expert, expert=expert, model=model)


def check_widths(genome: Genome, mesh: MeshAxes) -> None:
    """Refuses a model axis that does not divide what it splits.

    Raises:
        InvalidMesh: names the field, its value and the axis.
    """
    for index, layer in enumerate(genome.layers):
        field = SPLIT_FIELDS[layer.kind]
        value = getattr(layer, field)
        if value % mesh.model:
            rule = f"the model axis ({mesh.model}) must divide layers/{index}/{field}"
            raise InvalidMesh(rule, value, f"/layers/{index}/{field}")


def _splits_widths(genome: Genome, model: int) -> bool:
    return all(getattr(layer, SPLIT_FIELDS[layer.kind]) % model == 0 for layer in genome.layers)
