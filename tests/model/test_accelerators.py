"""What accelerators compute in another way than a CPU, as far as a CPU can tell."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainformer.model.attention import flash_attention, has_flash_kernel, written_attention
from brainformer.model.decoder import cross_entropy, logits_of


def test_attention_in_one_kernel_equals_the_written_out_one():
    rng = np.random.default_rng(0)
    qkv = rng.normal(size=(2, 130, 3, 2, 8)).astype(np.float32)
    gradient = rng.normal(size=(2, 130, 2, 8)).astype(np.float32)

    @partial(jax.jit, static_argnums=0)
    def both_ways(attention, qkv):
        mixed, pull_back = jax.vjp(lambda qkv: attention(qkv, 100.0), qkv)
        return mixed, pull_back(gradient)[0]

    wanted = both_ways(written_attention, qkv)
    got = both_ways(partial(flash_attention, implementation="xla"), qkv)
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize(
    ("backend", "capability", "dtype", "head_dim", "expected"),
    [
        ("gpu", "9.0", jnp.bfloat16, 64, True),
        ("gpu", "12.0", jnp.bfloat16, 128, True),
        ("gpu", "9.0", jnp.float32, 64, False),
        ("gpu", "7.5", jnp.bfloat16, 64, False),
        ("gpu", "gfx942", jnp.bfloat16, 64, False),
        ("gpu", "9.0", jnp.bfloat16, 20, False),
        ("gpu", "9.0", jnp.bfloat16, 136, False),
        ("tpu", None, jnp.bfloat16, 64, False),
        ("cpu", None, jnp.bfloat16, 64, False),
    ],
)
def test_one_kernel_is_taken_where_the_device_has_it(
    monkeypatch, backend, capability, dtype, head_dim, expected
):
    device = SimpleNamespace(compute_capability=capability) if capability else SimpleNamespace()
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "devices", lambda: [device])

    assert has_flash_kernel(jnp.dtype(dtype), head_dim) is expected


def test_the_loss_of_a_gathered_logit_is_the_same(monkeypatch):
    logits = jax.random.normal(jax.random.key(0), (7, 11))
    targets = jnp.arange(7)
    compared = cross_entropy(logits, targets)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    np.testing.assert_array_equal(cross_entropy(logits, targets), compared)


def test_the_gradient_of_logits_is_multiplied_on_in_the_compute_dtype():
    keys = jax.random.split(jax.random.key(0), 3)
    wide = jax.random.normal(keys[0], (64, 16)), jax.random.normal(keys[1], (16, 50))
    gradient = jax.random.normal(keys[2], (64, 50))
    narrow = tuple(side.astype(jnp.bfloat16) for side in wide)
    logits, pull_back = jax.vjp(logits_of, *narrow)

    assert logits.dtype == jnp.float32
    products = jax.make_jaxpr(pull_back)(gradient).eqns
    kinds = [[side.aval.dtype for side in one.invars] for one in products if "dot" in str(one)]
    assert kinds == [[jnp.bfloat16] * 2] * 2
    _, pull_back_wide = jax.vjp(lambda x, matrix: x @ matrix, *wide)
    for got, expected in zip(pull_back(gradient), pull_back_wide(gradient), strict=True):
        difference = jnp.linalg.norm(got.astype(jnp.float32) - expected)
        assert difference < 0.02 * jnp.linalg.norm(expected)
