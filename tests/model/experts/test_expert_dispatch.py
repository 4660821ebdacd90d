"""Places read from both sides beside places that are added into rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainformer.model.experts.expert_dispatch import Slots, rows_of, weighted_sum

TOKENS, EXPERTS, PLACES, DIM, K = 10, 3, 5, 4, 2


def slots(rng):
    """Returns slots in which some places are empty and some tokens have fewer than K places."""
    flat = rng.permutation(EXPERTS * PLACES)[: K * (TOKENS - 4)]
    places = np.full((TOKENS, K), -1)
    places[: TOKENS - 4] = flat.reshape(-1, K)
    places[0, 1] = -1
    tokens = np.zeros(EXPERTS * PLACES, int)
    weights = np.zeros(EXPERTS * PLACES, np.float32)
    for token, row in enumerate(places):
        tokens[row[row >= 0]] = token
        weights[row[row >= 0]] = rng.uniform(0.1, 1, (row >= 0).sum())
    shape = (EXPERTS, PLACES)
    return Slots(
        jnp.asarray(tokens.reshape(shape)),
        jnp.asarray(weights.reshape(shape)),
        places=jnp.asarray(places),
    )


@pytest.mark.slow
def test_sums_and_gradients_equal_those_of_adding_into_rows():
    rng = np.random.default_rng(0)
    read = slots(rng)
    x = jnp.asarray(rng.normal(size=(TOKENS, DIM)), jnp.float32)
    matrices = jnp.asarray(rng.normal(size=(EXPERTS, DIM, DIM)), jnp.float32)
    looked_at = jnp.asarray(rng.normal(size=x.shape), jnp.float32)

    def objective(x, weights, places):
        chosen = Slots(read.tokens, weights, places=places)
        out = weighted_sum(rows_of(x, chosen) @ matrices, chosen, TOKENS)
        return jnp.sum(out * looked_at), out

    slopes = jax.grad(objective, argnums=(0, 1), has_aux=True)
    (to_x, to_weights), out = slopes(x, read.weights, read.places)
    (expected_x, expected_weights), expected = slopes(x, read.weights, None)

    # The same products, summed in another order.
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_allclose(to_x, expected_x, atol=1e-6)
    filled = np.asarray(read.weights) > 0
    np.testing.assert_allclose(
        np.asarray(to_weights)[filled], np.asarray(expected_weights)[filled], atol=1e-6
    )
