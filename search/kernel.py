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

import numpy as np
import numpy.typing as npt

from search.features import Codes, Features, Matrix

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
    found = np.empty((len(component_names(detailed=detailed)), len(left), len(right)))
    alike, nearby, runs = _shared(left, right)
    counted = _squared_distance(left, right, "counts")
    apart = np.float64(length) - alike
    if detailed:
        apart += _squared_distance(left, right, "details")
    places, neighbours, triples, pairs, counts, far, near, *fields = found
    np.divide(alike, length, out=places)
    np.divide(nearby, length, out=neighbours)
    np.divide(runs, max(length, 2), out=triples)
    np.matmul(left.pairs, right.pairs.T / (length + 1), out=pairs)
    np.exp(counted / -COUNT_SCALE, out=counts)
    np.exp(apart / -FAR, out=far)
    np.exp(apart / -NEAR, out=near)
    if detailed:
        shares, details = fields
        told = counted + _squared_distance(left, right, "shares")
        np.matmul(left.shares, right.shares.T / length**2, out=shares)
        np.exp(told / -COUNT_SCALE, out=details)
    return found


def own_components(points: Features, *, detailed: bool) -> Matrix:
    """Returns every component of each genome with itself; shape (components, points)."""
    length = points.kinds.shape[1]
    own = np.ones((len(component_names(detailed=detailed)), len(points)))
    own[KIND_COMPONENTS.index("pairs")] = (points.pairs**2).sum(axis=1) / (length + 1)
    if detailed:
        own[len(KIND_COMPONENTS)] = (points.shares**2).sum(axis=1) / length**2
    return own


Counted = npt.NDArray[np.int8]


def _shared(left: Features, right: Features) -> tuple[Counted, Counted, Counted]:
    """Returns how many places, pairs and triples of places in a row two genomes share.

    In bytes, of which a processor compares and adds many at once; no block has 128 sub-layers.
    """
    shape = (len(left), len(right))
    alike, nearby, runs = (np.zeros(shape, np.int8) for _ in range(3))
    before = two_before = np.zeros(shape, np.int8)
    for here, there in zip(left.kinds.T, right.kinds.T, strict=True):
        equal = _equal(here, there)
        both = equal & before
        alike += equal
        nearby += both
        runs += equal & two_before
        before, two_before = equal, both
    pair, triple, other = zip(left.around.T, right.around.T, strict=True)
    nearby += _equal(*pair)
    runs += _equal(*triple)
    runs += _equal(*other)
    return alike, nearby, runs


def _equal(here: Codes, there: Codes) -> Counted:
    return np.asarray(here[:, None] == there[None, :]).view(np.int8)


def _squared_distance(left: Features, right: Features, name: str) -> Matrix:
    """Returns the squared distance between every two genomes by one of their arrays."""
    distance: Matrix = getattr(left, name) @ (-2 * getattr(right, name).T)
    distance += left.squares[name][:, None]
    distance += right.squares[name]
    return np.maximum(distance, 0, out=distance)
