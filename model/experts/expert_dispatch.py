"""Places that experts compute: how rows of tokens reach them, and how what they make comes back.

Each place holds one row, and a rule that knows which places hold a row lets both directions, and
the derivative of both, read: a scatter-add has one kernel for each use on a CPU, and
accelerators add by atomic operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Indices are right by construction: checks of them would be kernels of their own.
IN_BOUNDS: dict[str, Any] = {"mode": "promise_in_bounds", "wrap_negative_indices": False}


class Slots(NamedTuple):
    """Places that experts compute.

    Attributes:
        tokens: Index of the token in each place; 0 where `weights` is 0 for an empty one.
        weights: What the expert's output is multiplied with.
        places: The places that hold each token, -1 for none; None where that is not known.
    """

    tokens: Int[Array, "N C"]
    weights: Float[Array, "N C"]
    places: Int[Array, "T K"] | None = None


def rows_of(x: Float[Array, "T d"], slots: Slots) -> Float[Array, "N C d"]:
    """Returns the row of the token in each place."""
    if slots.places is None:
        return x.at[slots.tokens].get(**IN_BOUNDS)
    return take(x, slots.tokens, slots.places)


def weighted_sum(out: Float[Array, "N C d"], slots: Slots, tokens: int) -> Float[Array, "T d"]:
    """Returns each token's sum over its places of weight x output."""
    weighted = out * slots.weights[..., None].astype(out.dtype)
    if slots.places is None:
        total = jnp.zeros((tokens, out.shape[-1]), out.dtype)
        return total.at[slots.tokens].add(weighted, **IN_BOUNDS)
    return _sum_of_places(weighted, slots.tokens, slots.places)


@jax.custom_vjp
def take(
    values: Float[Array, "T ..."], rows: Int[Array, "N C"], places: Int[Array, "T K"]
) -> Float[Array, "N C ..."]:
    """Returns the value of the row in each place.

    Args:
        values: One for each row.
        rows: The row in each place; any for an empty place, whose gradient is lost.
        places: The places that hold each row, counted through all rows of places; -1 for none.
    """
    del places  # the derivative reads them
    return values.at[rows].get(**IN_BOUNDS)


@jax.custom_vjp
def _sum_of_places(
    values: Float[Array, "N C ..."], rows: Int[Array, "N C"], places: Int[Array, "T K"]
) -> Float[Array, "T ..."]:
    """Returns the sum over the places that hold each row: the transpose of `take`."""
    del rows
    flat = values.reshape(-1, *values.shape[2:])
    total = jnp.zeros((places.shape[0], *flat.shape[1:]), flat.dtype)
    for index in range(places.shape[1]):
        place = places[:, index]
        found = flat.at[jnp.maximum(place, 0)].get(**IN_BOUNDS)
        total += jnp.where((place >= 0).reshape(-1, *(1 for _ in flat.shape[1:])), found, 0.0)
    return total


Indices = tuple[Int[Array, "N C"], Int[Array, "T K"]]


def _take_forward(
    values: Float[Array, "T ..."], rows: Int[Array, "N C"], places: Int[Array, "T K"]
) -> tuple[Float[Array, "N C ..."], Indices]:
    return take(values, rows, places), (rows, places)


def _take_backward(
    indices: Indices, gradient: Float[Array, "N C ..."]
) -> tuple[Float[Array, "T ..."], None, None]:
    return _sum_of_places(gradient, *indices), None, None


def _sum_forward(
    values: Float[Array, "N C ..."], rows: Int[Array, "N C"], places: Int[Array, "T K"]
) -> tuple[Float[Array, "T ..."], Indices]:
    return _sum_of_places(values, rows, places), (rows, places)


def _sum_backward(
    indices: Indices, gradient: Float[Array, "T ..."]
) -> tuple[Float[Array, "N C ..."], None, None]:
    return take(gradient, *indices), None, None


take.defvjp(_take_forward, _take_backward)
_sum_of_places.defvjp(_sum_forward, _sum_backward)
