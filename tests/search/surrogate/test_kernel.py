"""Features and likenesses of genomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainformer.search.space.coded_genome import GenomeCoder
from brainformer.search.space.genome import Genome, Layer
from brainformer.search.space.space import Space, load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.search.surrogate.features import FeatureMap, Features
from brainformer.search.surrogate.kernel import (
    FIELD_COMPONENTS,
    KIND_COMPONENTS,
    component_names,
    components,
    covariance,
    own_components,
)
from tests.search.spaces import any_space, sequences


def _drawn(space: Space, count: int, seed: int = 0) -> list[Genome]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng=rng) for _ in range(count)]


def _seen(space: Space, genomes: list[Genome]) -> tuple[Features, bool]:
    """Returns the genomes' features, and whether the space has more than kinds."""
    coder = GenomeCoder(space)
    features = FeatureMap(coder)
    return features([coder.encode(genome) for genome in genomes]), features.detailed


@settings(deadline=None)
@given(any_space(), st.integers(0, 2**16))
def test_components_are_symmetric_and_positive_semidefinite(space: Space, seed: int) -> None:
    points, detailed = _seen(space, _drawn(space, 12, seed))
    found = components(points, points, detailed=detailed)
    assert found.shape == (len(component_names(detailed=detailed)), 12, 12)
    np.testing.assert_allclose(found, found.transpose(0, 2, 1), atol=1e-12)
    assert np.linalg.eigvalsh(found).min() > -1e-9


@settings(deadline=None)
@given(any_space(), st.integers(0, 2**16))
def test_a_genomes_own_components_are_the_diagonal(space: Space, seed: int) -> None:
    points, detailed = _seen(space, _drawn(space, 6, seed))
    every = components(points, points, detailed=detailed)
    own = own_components(points, detailed=detailed)
    np.testing.assert_allclose(np.einsum("mii->mi", every), own, atol=1e-12)


@settings(deadline=None)
@given(any_space(), st.integers(0, 2**16))
def test_a_covariance_is_the_weighted_sum_of_the_components(space: Space, seed: int) -> None:
    points, detailed = _seen(space, _drawn(space, 9, seed))
    few, _ = _seen(space, _drawn(space, 9, seed)[:4])
    every = components(few, points, detailed=detailed)
    weights = np.random.default_rng(seed).random(len(every))
    summed = covariance(few, points, weights, detailed=detailed)
    np.testing.assert_allclose(summed, np.tensordot(weights, every, 1), atol=1e-12)


def test_a_space_of_kinds_alone_has_no_components_of_fields() -> None:
    assert not FeatureMap(GenomeCoder(sequences(8))).detailed
    assert FeatureMap(GenomeCoder(load_preset("nano"))).detailed
    assert component_names(detailed=True) == KIND_COMPONENTS + FIELD_COMPONENTS


def test_order_changes_places_and_not_counts() -> None:
    space = sequences(4)
    attention, dense = (next(iter(space.layers_of(kind))) for kind in ("attention", "feed_forward"))
    one = Genome(model_dim=32, layers=(attention, attention, dense, dense))
    other = Genome(model_dim=32, layers=(dense, dense, attention, attention))
    points, _ = _seen(space, [one, other])
    likeness = dict(
        zip(KIND_COMPONENTS, components(points, points, detailed=False)[:, 0, 1], strict=True)
    )
    assert likeness["counts"] == 1.0
    assert likeness["places"] == likeness["nearby"] == likeness["runs"] == 0.0
    assert likeness["far"] == pytest.approx(np.exp(-4 / 6.0))


def test_a_blocks_first_sub_layer_comes_after_its_last() -> None:
    space = sequences(4)
    a, f, m = (next(iter(space.layers_of(kind))) for kind in ("attention", "feed_forward", "moe"))

    def likeness(*blocks: tuple[Layer, ...]) -> dict[str, float]:
        points, _ = _seen(space, [Genome(model_dim=32, layers=one) for one in blocks])
        found = components(points, points, detailed=False)[:, 0, 1]
        return dict(zip(KIND_COMPONENTS, found.tolist(), strict=True))

    assert likeness((a, f, f, m), (a, m, m, m))["nearby"] == 0.25
    assert likeness((a, f, f, m), (f, m, m, m))["nearby"] == 0.0
    assert likeness((a, f, m, m), (a, f, f, m))["runs"] == 0.25
    shorter = likeness((a, f), (a, f, f, m))
    assert (shorter["places"], shorter["nearby"]) == (0.5, 0.25)


def test_what_lies_near_is_more_alike_than_what_lies_far() -> None:
    space = load_preset("nano")
    genome = zoo_genome("glam", space)
    wider = genome.model_copy(update={"model_dim": 64})
    shorter = genome.model_copy(update={"layers": genome.layers[:4]})
    points, _ = _seen(space, [genome, wider, shorter])
    found = components(points, points, detailed=True)
    near = component_names(detailed=True).index("near")
    assert 1.0 > found[near, 0, 1] > found[near, 0, 2] > 0.0


def test_a_genome_outside_the_space_has_features_too() -> None:
    space = load_preset("nano")
    points, _ = _seen(space, [zoo_genome("primer", space)])
    assert np.isfinite(points.details).all()


def test_no_genomes_no_rows() -> None:
    points, _ = _seen(sequences(8), [])
    assert len(points) == 0
    assert components(points, points, detailed=False).shape == (len(KIND_COMPONENTS), 0, 0)
