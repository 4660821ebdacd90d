"""Initial values: the same drawn on the host, under a trace and by shape."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

from brainformer.model.initial import PIECE, constant, normal


def drawn(shape, seed=0):
    return normal(nnx.Rngs(params=seed), shape, scale=0.5)


@pytest.mark.parametrize("shape", [(3,), (7, 5), (2, PIECE // 2 + 1)])
def test_traced_values_equal_those_of_the_host(shape):
    traced = jax.jit(lambda key: normal(nnx.Rngs(params=key), shape, scale=0.5))(jax.random.key(0))

    np.testing.assert_allclose(traced, drawn(shape), rtol=1e-5, atol=1e-6)


def test_values_are_normal_and_pieces_differ():
    values = np.asarray(drawn((4, PIECE)))

    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.std() == pytest.approx(0.5, abs=0.01)
    assert abs(np.corrcoef(values)[0, 1:]).max() < 0.05
    assert not np.array_equal(values, drawn((4, PIECE), seed=1))


def test_constants_have_their_value():
    assert np.array_equal(constant((2, 3), 1.5), np.full((2, 3), 1.5))
