"""How alike two genomes are, in several ways; the surrogate learns which of them matter.

Each component is a positive semidefinite function with values of about 1 for equal genomes:

- places, nearby, runs: shared sub-layers, pairs and triples of them at the same places (the
  weighted degree kernel of Rätsch and Sonnenburg, 2004), for what holds at a place; around the end
  too, since a block is stacked and its first sub-layer comes after its last;
- pairs: shared neighbours wherever they stand (the spectrum kernel), for motifs;
- counts: distance in the number of sub-layers of each kind, for ratios;
- far, near: distance over all places and fields, long and short, for interactions of few and of
  many places;
- shares, details: the same as counts for the choices of all fields, linear and by distance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brainformer.search.surrogate.features import Features, Masks, Matrix

KIND_COMPONENTS = ("places", "nearby", "runs", "pairs", "counts", "far", "near")
FIELD_COMPONENTS = ("shares", "details")
FAR = 6.0  # places that differ until likeness has fallen to 1/e; near, a third as many
COUNT_SCALE = 16.0  # squared counts


def component_names(*, detailed: bool) -> tuple[str, ...]:
    """Returns the names in the order of `components`."""
    return KIND_COMPONENTS + (FIELD_COMPONENTS if detailed else ())


def components(left: Features, right: Features, *, detailed: bool) -> Matrix:
    """Returns every component between every two genomes; shape (components, left, right).

    Args:
        left: Genomes, one a row of the answer.
        right: Genomes, one a column of the answer.
        detailed: Whether genomes of the space differ in more than kinds.
    """
    found = np.empty((len(component_names(detailed=detailed)), len(left), len(right)))
    for out, component in zip(found, _each(left, right, detailed=detailed), strict=True):
        out[:] = component
    return found


def covariance(left: Features, right: Features, weights: Matrix, *, detailed: bool) -> Matrix:
    """Returns the weighted sum of the components between every two genomes.

    It is summed up one by one, since all of them at once would not stay in a processor's cache.

    Args:
        left: Genomes, one a row of the answer.
        right: Genomes, one a column of the answer.
        weights: Of the components, shape (components,).
        detailed: Whether genomes of the space differ in more than kinds.
    """
    summed = np.zeros((len(left), len(right)))
    each = _each(left, right, detailed=detailed)
    for weight, component in zip(weights.tolist(), each, strict=True):
        component *= weight
        summed += component
    return summed


def _each(left: Features, right: Features, *, detailed: bool) -> Iterator[Matrix]:
    """Yields the components in turn, each an array that may be written to."""
    length = left.length
    equal = _equal_places(left, right)
    followed = equal & (equal >> 1)
    pair, triple, other = (
        here[:, None] == there
        for here, there in zip(left.around.T, np.ascontiguousarray(right.around.T), strict=True)
    )
    places = np.bitwise_count(equal) * (1 / length)
    far = places * (length / FAR)
    far -= length / FAR
    yield places
    yield (np.bitwise_count(followed) + pair) * (1 / length)
    three = np.bitwise_count(followed & (equal >> 2)) + triple
    three += other
    yield three * (1 / max(length, 2))
    yield (left.pairs / (length + 1)) @ right.pairs.T
    counts = _distances(left.counts, right.counts, -1 / COUNT_SCALE)
    yield np.exp(counts, out=counts)
    if detailed:
        far += _distances(left.details, right.details, -1 / FAR)
    np.exp(far, out=far)
    near = far * far
    near *= far
    yield far
    yield near
    if detailed:
        yield (left.shares / length**2) @ right.shares.T
        totals = _distances(left.totals, right.totals, -1 / COUNT_SCALE)
        yield np.exp(totals, out=totals)


def own_components(points: Features, *, detailed: bool) -> Matrix:
    """Returns every component of each genome with itself; shape (components, points)."""
    length = points.length
    own = np.ones((len(component_names(detailed=detailed)), len(points)))
    pairs = np.einsum("nc,nc->n", points.pairs, points.pairs)
    np.multiply(pairs, 1 / (length + 1), out=own[KIND_COMPONENTS.index("pairs")])
    if detailed:
        shares = points.totals[:, -1] - points.counts[:, -1]
        np.multiply(shares, 1 / length**2, out=own[len(KIND_COMPONENTS)])
    return own


def _equal_places(left: Features, right: Features) -> Masks:
    """Returns the places where two genomes have the same kind, as bits; shape (left, right)."""
    equal = np.zeros((len(left), len(right)), left.places.dtype)
    for here, there in zip(left.places.T, np.ascontiguousarray(right.places.T), strict=True):
        equal |= here[:, None] & there
    return equal


def _distances(left: Matrix, right: Matrix, factor: float) -> Matrix:
    """Returns the squared distance between every two rows, times a factor.

    Args:
        left: Rows that end with a one and their squared length.
        right: The same.
        factor: What to multiply with.
    """
    turned = np.empty_like(left)
    np.multiply(left[:, :-2], -2 * factor, out=turned[:, :-2])
    np.multiply(left[:, :-3:-1], factor, out=turned[:, -2:])
    distances: Matrix = turned @ right.T
    return distances
