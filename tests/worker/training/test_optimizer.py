import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brainformer.search.proxy.proxy import Proxy
from brainformer.worker.training.optimizer import (
    ADAM_BETA1,
    ADAM_EPSILON,
    adafactor_decay,
    build_optimizer,
    learning_rate,
)

RATE = jnp.float32(0.01)


def rates(schedule, fractions, warmup=0.1):
    return [
        float(learning_rate(f, peak=2.0, warmup_fraction=warmup, schedule=schedule))
        for f in fractions
    ]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [0.0, 1.0, 2.0, 1.0, 0.0]),
        ("linear", [0.0, 1.0, 2.0, 1.0, 0.0]),
        ("constant", [0.0, 1.0, 2.0, 2.0, 2.0]),
        ("inverse_sqrt", [2.0, 2.0, 2.0, 2.0 * (0.1 / 0.55) ** 0.5, 2.0 * 0.1**0.5]),
    ],
)
def test_schedules_by_fraction_of_the_budget(schedule, expected):
    assert rates(schedule, [0.0, 0.05, 0.1, 0.55, 1.0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "inverse_sqrt"])
def test_schedules_work_without_warm_up(schedule):
    values = rates(schedule, np.linspace(0, 1, 11), warmup=0.0)
    assert np.all(np.isfinite(values))
    assert values[0] == pytest.approx(2.0)


def test_learning_rate_needs_no_recompilation():
    traces = []

    @jax.jit
    def rate(fraction):
        traces.append(1)
        return learning_rate(fraction, peak=1.0, warmup_fraction=0.1, schedule="cosine")

    assert float(rate(np.float32(0.2))) != float(rate(np.float32(0.7)))
    assert len(traces) == 1


def test_adafactor_decay_makes_the_running_mean_unbiased():
    beta2 = 0.99
    mean = 0.0
    for step in range(50):
        decay = float(adafactor_decay(jnp.int32(step), beta2))
        mean = decay * mean + (1 - decay) * 4.0
        assert mean == pytest.approx(4.0, rel=1e-4)
    assert decay < beta2
    assert float(adafactor_decay(jnp.int32(5000), beta2)) == pytest.approx(beta2, rel=1e-4)


def tree(shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("shape", [(128, 160), (16, 8), (64,)])
def test_stacked_adafactor_equals_unstacked(shape):
    proxy = Proxy(optimizer="adafactor", gradient_clip=0)
    count = 3
    parameters = [tree(shape, i) for i in range(count)]
    gradients = [[tree(shape, 100 * step + i) for i in range(count)] for step in range(3)]
    gradients = [[g * 10**i for i, g in enumerate(step)] for step in gradients]

    alone = build_optimizer(proxy)
    separate, state = list(parameters), alone.init(parameters)
    for step in gradients:
        separate, state, _ = alone.update(step, state, separate, RATE)

    mapped = build_optimizer(proxy, stacked_axes={"w": 1})
    together = {"w": jnp.stack(parameters)}
    state = mapped.init(together)
    for step in gradients:
        together, state, _ = mapped.update({"w": jnp.stack(step)}, state, together, RATE)
    np.testing.assert_allclose(together["w"], jnp.stack(separate), rtol=1e-5, atol=1e-6)


def test_unmapped_adafactor_would_clip_experts_together():
    proxy = Proxy(optimizer="adafactor", gradient_clip=0)
    parameters = {"w": jnp.zeros((2, 4, 4))}
    # A second step far above the running mean is clipped; the quiet expert must not pay for it.
    quiet, loud = jnp.ones((4, 4)), jnp.ones((4, 4))
    steps = [jnp.stack([quiet, loud]), jnp.stack([quiet, 1000 * loud])]
    moved = {}
    for axes in (0, 1):
        optimizer = build_optimizer(proxy, stacked_axes={"w": axes})
        state, now = optimizer.init(parameters), parameters
        for step in steps:
            now, state, _ = optimizer.update({"w": step}, state, now, RATE)
        moved[axes] = float(now["w"][0, 0, 0])
    assert moved[1] == pytest.approx(-0.02, rel=1e-3)
    assert abs(moved[0]) < 0.0195


def test_adafactor_factors_large_matrices_only():
    optimizer = build_optimizer(Proxy(optimizer="adafactor"), stacked_axes={"w": 1})
    state = optimizer.init({"w": jnp.zeros((8, 128, 256))})
    assert max(leaf.size for leaf in jax.tree.leaves(state)) == 8 * 256


def test_gradients_are_clipped_to_the_global_norm():
    proxy = Proxy(optimizer="adam", gradient_clip=1.0)
    optimizer = build_optimizer(proxy)
    parameters = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    _, state, norm = optimizer.update(
        {"a": jnp.full(2, 300.0), "b": jnp.full(2, 400.0)},
        optimizer.init(parameters),
        parameters,
        RATE,
    )
    assert float(norm) == pytest.approx((2 * 300.0**2 + 2 * 400.0**2) ** 0.5)
    first_moment = optax.tree_utils.tree_get(state, "mu")
    assert float(optax.tree.norm(first_moment)) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("name", ["adam", "adafactor"])
def test_optimizers_descend(name):
    optimizer = build_optimizer(Proxy(optimizer=name))
    parameters = {"w": tree((8, 8), 0)}
    state = optimizer.init(parameters)
    loss = lambda p: jnp.sum((p["w"] - 1.0) ** 2)  # noqa: E731
    before = float(loss(parameters))
    for _ in range(100):
        parameters, state, _ = optimizer.update(
            jax.grad(loss)(parameters), state, parameters, jnp.float32(0.05)
        )
    assert float(loss(parameters)) < 0.05 * before


@pytest.mark.parametrize("beta2", [0.98, 0.95])
def test_adam_equals_that_of_optax(beta2):
    ours = build_optimizer(Proxy(optimizer="adam", adam_beta2=beta2, gradient_clip=0))
    theirs = optax.scale_by_adam(b1=ADAM_BETA1, b2=beta2, eps=ADAM_EPSILON)
    parameters = expected = {"a": tree((4, 3), 0), "b": tree((2, 2, 2), 1), "c": tree((5,), 2)}
    state, their_state = ours.init(parameters), theirs.init(expected)
    for step in range(4):
        gradients = jax.tree.map(lambda p, n=step: jnp.sin(p * (n + 1)), expected)
        parameters, state, _ = ours.update(gradients, state, parameters, RATE)
        directions, their_state = theirs.update(gradients, their_state)
        expected = jax.tree.map(lambda p, d: p - RATE * d, expected, directions)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), parameters, expected
    )
