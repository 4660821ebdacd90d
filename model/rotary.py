"""Rotary position embedding (arXiv:2104.09864)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def rotary_table(
    positions: Int[Array, " S"] | np.ndarray, head_dim: int, base: float
) -> tuple[Float[Array, "S half"], Float[Array, "S half"]]:
    """Returns cosines and sines of the angle of each position and pair of channels.

    The first pair turns by one radian a position, the last by little more than 1 / `base`. If the
    positions are known beforehand, the tables are constants: computed in the program, each use
    would compile them again.
    """
    half = head_dim // 2
    frequencies = base ** (-np.arange(half) / half)
    if isinstance(positions, np.ndarray):
        angles = positions[:, None] * frequencies
        return jnp.asarray(np.cos(angles), jnp.float32), jnp.asarray(np.sin(angles), jnp.float32)
    turned = jnp.asarray(positions, jnp.float32)[:, None] * jnp.asarray(frequencies, jnp.float32)
    return jnp.cos(turned), jnp.sin(turned)


def rotate(
    x: Float[Array, "*batch head_dim"],
    cosines: Float[Array, "*#batch half"],
    sines: Float[Array, "*#batch half"],
) -> Float[Array, "*batch head_dim"]:
    """Returns `x` with each pair (i, i + half) of channels turned by its position's angle."""
    first, second = jnp.split(x, 2, axis=-1)
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
