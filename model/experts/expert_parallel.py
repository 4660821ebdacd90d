"""Experts on a mesh: how tokens reach the devices that hold their experts, and come back.

The mathematics is that of one device; three ways lead to it:

| who is routed                          | what travels                                          |
| -------------------------------------- | ----------------------------------------------------- |
| groups that lie within a shard         | a fixed number of places, by one all-to-all each way  |
| the whole batch as one group           | every token, gathered and then summed and scattered   |
| tokens by themselves, without places   | the tokens of one row of the expert axis, likewise    |

The first moves the least. The second serves rules that compare all rows of the batch: each device
knows all scores, which are small, and computes its share of its experts' places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from brainformer.model.config import DATA_AXIS, EXPERT_AXIS, MODEL_AXIS, partition_spec
from brainformer.model.experts.expert_dispatch import Slots, rows_of, weighted_sum
from brainformer.model.experts.router import scores
from brainformer.model.experts.routing import RoutingReport
from brainformer.model.surroundings import axis_size

ROWS = (DATA_AXIS, EXPERT_AXIS)  # what the rows of a batch are split over
Matrices: TypeAlias = dict[str, Array]
Placed: TypeAlias = tuple[Slots, RoutingReport, Float[Array, " E"]]
Routed: TypeAlias = tuple[Float[Array, "T d"], RoutingReport, Float[Array, " E"]]
Routing: TypeAlias = tuple[Float[Array, "d E"], Float[Array, " E"]]  # router and cut-offs
# (tokens, gates of the experts given, their matrices) to the weighted sum of their outputs.
Compute: TypeAlias = Callable[[Array, Array, Matrices], Array]
SPLIT = {
    "up": partition_spec(EXPERT_AXIS, None, MODEL_AXIS),
    "gate": partition_spec(EXPERT_AXIS, None, MODEL_AXIS),
    "down": partition_spec(EXPERT_AXIS, MODEL_AXIS, None),
}


class Experts(Protocol):
    """What an MoE sub-layer offers to the ways of this module."""

    def place(self, probabilities: Array, z_loss: Array, cutoff: Array, batch: int) -> Placed:
        """Returns the places that the training rule fills, a report, and admitted shares."""

    def run(self, rows: Array, matrices: Matrices) -> Array:
        """Returns what experts make of the rows in their places."""


def routed_in_groups(
    layer: Experts,
    routing: Routing,
    matrices: Matrices,
    x: Float[Array, "T d"],
    *,
    batch: int,
    groups: int,
) -> Routed:
    """Returns the output of groups of rows of which each shard of the batch holds some whole.

    Every group sends the same number of places to every expert, so one all-to-all of a fixed shape
    carries tokens there and another carries them back.
    """
    tokens = x.shape[0] // groups

    def shard(routing: Routing, matrices: Matrices, x: Array) -> Routed:
        router, cutoff = routing

        def place(group: Array) -> Placed:
            return layer.place(*scores(router, group), cutoff, batch // groups)

        def combine(out: Array, slots: Slots) -> Array:
            return weighted_sum(out, slots, tokens)

        apart = x.reshape(-1, tokens, x.shape[-1])
        slots, report, admitted = jax.vmap(place)(apart)
        rows = _experts_first(jax.vmap(rows_of)(apart, slots))
        out = _exchange(_computed(layer, _exchange(rows, 0, 1), matrices), 1, 0)
        out = jax.vmap(combine)(_groups_first(out, len(apart)), slots)
        report, admitted = jax.tree.map(lambda part: part.mean(axis=0), (report, admitted))
        return out.reshape(x.shape), *jax.tree.map(_mean_over_shards, (report, admitted))

    routed: Routed = _mapped(shard, matrices, outputs=3)(routing, matrices, x)
    return routed


def routed_together(
    layer: Experts, routing: Routing, matrices: Matrices, x: Float[Array, "T d"], *, batch: int
) -> Routed:
    """Returns the output of a batch that is one group: its rows are compared across all shards.

    Every device finds all places; experts live on the expert axis, and the places of each are
    shared out over the data axis.
    """

    def shard(routing: Routing, matrices: Matrices, x: Array) -> Routed:
        router, cutoff = routing
        probabilities, z_loss = scores(router, x)
        every = _gathered(probabilities, ROWS)
        slots, report, admitted = layer.place(every, z_loss, cutoff, batch)
        own, every = _own(slots), _gathered(x, ROWS)
        out = _computed(layer, rows_of(every, own), matrices)
        out = _scattered(weighted_sum(out, own, every.shape[0]), ROWS)
        return out, *jax.tree.map(_mean_over_shards, (report, admitted))

    routed: Routed = _mapped(shard, matrices, outputs=3)(routing, matrices, x)
    return routed


def computed_by_gates(
    compute: Compute,
    matrices: Matrices,
    x: Float[Array, "T d"],
    gates: Float[Array, "T E"],
    *,
    differentiable: bool,
) -> Float[Array, "T d"]:
    """Returns the sum of gate x expert(token) of tokens that are routed each by itself.

    Each device computes what its experts have to do for the tokens of its row of the expert axis.

    Args:
        compute: Does it for the experts of one device.
        matrices: Of all experts.
        x: Tokens.
        gates: Each token's weight for each expert, 0 where it is not computed.
        differentiable: Whether a gradient will be asked for.
    """

    def shard(gates: Array, matrices: Matrices, x: Array) -> tuple[Array]:
        mine, count = _part(gates.shape[1], EXPERT_AXIS)
        own = jax.lax.dynamic_slice_in_dim(_gathered(gates, EXPERT_AXIS), mine, count, axis=1)
        out = compute(_gathered(x, EXPERT_AXIS), own, matrices)
        return (_scattered(_summed(out), EXPERT_AXIS),)

    mapped = _mapped(shard, matrices, outputs=1, first_split=True, check=differentiable)
    out: Array = mapped(gates, matrices, x)[0]
    return out


def _mapped(
    shard: Callable[..., Any],
    matrices: Matrices,
    *,
    outputs: int,
    first_split: bool = False,
    check: bool = True,
) -> Callable[..., Any]:
    """Returns `shard`, run by every device on its own rows and its own experts' matrices."""
    tokens, whole = partition_spec(ROWS), partition_spec()
    specs = {name: SPLIT[name] for name in matrices}
    return jax.shard_map(
        shard,
        in_specs=(tokens if first_split else whole, specs, tokens),
        out_specs=(tokens, whole, whole)[:outputs],
        check_vma=check,
    )


def _own(slots: Slots) -> Slots:
    """Returns the places that this device computes."""
    experts, places = slots.tokens.shape
    missing = -places % axis_size(DATA_AXIS)
    padded = [jnp.pad(part, ((0, 0), (0, missing))) for part in (slots.tokens, slots.weights)]
    (expert, own), (first, count) = (
        _part(experts, EXPERT_AXIS),
        _part(places + missing, DATA_AXIS),
    )
    tokens, weights = (
        jax.lax.dynamic_slice(part, (expert, first), (own, count)) for part in padded
    )
    if slots.places is None:
        return Slots(tokens, weights)
    row, column = slots.places // places - expert, slots.places % places - first
    inside = (row >= 0) & (row < own) & (column >= 0) & (column < count) & (slots.places >= 0)
    return Slots(tokens, weights, places=jnp.where(inside, row * count + column, -1))


def _part(size: int, axis: str) -> tuple[Int[Array, ""], int]:
    """Returns where this device's share of `size` begins, and how large it is."""
    share = size // axis_size(axis)
    start: Array = jax.lax.axis_index(axis) * share
    return start, share


def _computed(layer: Experts, rows: Float[Array, "N C d"], matrices: Matrices) -> Array:
    return _summed(layer.run(rows, matrices))


def _experts_first(rows: Float[Array, "G E C d"]) -> Float[Array, "E G*C d"]:
    groups, experts, places, dim = rows.shape
    return rows.transpose(1, 0, 2, 3).reshape(experts, groups * places, dim)


def _groups_first(rows: Float[Array, "E G*C d"], groups: int) -> Float[Array, "G E C d"]:
    experts, _, dim = rows.shape
    return rows.reshape(experts, groups, -1, dim).transpose(1, 0, 2, 3)


def _exchange(places: Float[Array, "N C d"], split: int, joined: int) -> Array:
    """Returns places after each device sent its experts' share along the expert axis."""
    out: Array = jax.lax.all_to_all(  # type: ignore[no-untyped-call]
        places, EXPERT_AXIS, split, joined, tiled=True
    )
    return out


def _gathered(values: Array, axes: str | tuple[str, ...]) -> Array:
    """Returns the rows of all shards along the axes, in the order of the batch."""
    out: Array = jax.lax.all_gather(values, axes, axis=0, tiled=True)
    return out


def _scattered(values: Array, axes: str | tuple[str, ...]) -> Array:
    """Returns this shard's rows of the sum over all shards along the axes."""
    scatter: Any = jax.lax.psum_scatter
    out: Array = scatter(values, axes, scatter_dimension=0, tiled=True)
    return out


def _summed(values: Array) -> Array:
    """Returns the sum over the parts of a hidden width."""
    out: Array = jax.lax.psum(values, MODEL_AXIS)  # type: ignore[no-untyped-call]
    return out


def _mean_over_shards(part: Array) -> Array:
    mean: Array = jax.lax.pmean(part, ROWS)  # type: ignore[no-untyped-call]
    return mean
