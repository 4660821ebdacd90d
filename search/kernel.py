"""How alike two genomes are, in several ways; the surrogate learns which of them matter.

Each component is a positive semidefinite function with values of about 1 for equal genomes:

- places, nearby, runs: shared sub-layers, pairs and triples of them at the same places (the
  weighted degree kernel of Rätsch and Sonnenburg, 2004), for what holds at a place;
- pairs: shared neighbours wherever they stand (the spectrum kernel), for motifs;
- counts: distance in the number of sub-layers of each kind, for ratios;
- far, near: distance over all places and fields, long and short, for interactions of few and of
  many places;
- shares, details: the same as counts for the choices of all fields, linear and by distance.
"""

from __future__ import annotations

import numpy as np

from search.features import Features, Matrix

KIND_COMPONENTS = ("places", "nearby", "runs", "pairs", "counts", "far", "near")
FIELD_COMPONENTS = ("shares", "details")
FAR, NEAR = 6.0, 2.0  # places that differ until likeness has fallen to 1/e
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
    length = left.kinds.shape[1]
    alike, nearby, runs = _shared(left, right)
    counted = _squared_distance(left.counts, right.counts)
    apart = length - alike
    if detailed:
        apart = apart + _squared_distance(left.details, right.details)
    found = [
        alike / length,
        nearby / max(length - 1, 1),
        runs / max(length - 2, 1),
        left.pairs @ right.pairs.T / (length + 1),
        np.exp(counted / -COUNT_SCALE),
        np.exp(apart / -FAR),
        np.exp(apart / -NEAR),
    ]
    if detailed:
        shared = left.shares @ right.shares.T / length**2
        told = counted + _squared_distance(left.shares, right.shares)
        found += [shared, np.exp(told / -COUNT_SCALE)]
    return np.stack(found)


def own_components(points: Features, *, detailed: bool) -> Matrix:
    """Returns every component of each genome with itself; shape (components, points)."""
    length = points.kinds.shape[1]
    own = np.ones((len(component_names(detailed=detailed)), len(points)))
    own[KIND_COMPONENTS.index("nearby")] = length > 1
    own[KIND_COMPONENTS.index("runs")] = length > 2
    own[KIND_COMPONENTS.index("pairs")] = (points.pairs**2).sum(axis=1) / (length + 1)
    if detailed:
        own[len(KIND_COMPONENTS)] = (points.shares**2).sum(axis=1) / length**2
    return own


def _shared(left: Features, right: Features) -> tuple[Matrix, Matrix, Matrix]:
    """Returns how many places, pairs and triples of neighbouring places two genomes share."""
    shape = (len(left), len(right))
    alike, nearby, runs = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    before = two_before = np.zeros(shape, bool)
    for here, there in zip(left.kinds.T, right.kinds.T, strict=True):
        equal = here[:, None] == there[None, :]
        both = equal & before
        alike += equal
        nearby += both
        runs += equal & two_before
        before, two_before = equal, both
    return alike, nearby, runs


def _squared_distance(left: Matrix, right: Matrix) -> Matrix:
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :]
    distance: Matrix = np.maximum(squares - 2 * left @ right.T, 0)
    return distance
