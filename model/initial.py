"""Initial values of parameters: drawn alike on the host, under a trace and on every mesh.

Operation by operation, every shape of a parameter compiles programs of its own, which took longer
than compiling a small model's training step. So values come in pieces of one length, from one
compiled function that serves every shape of every genome; under a trace the same pieces are drawn
inside the traced program, where a sharding can split them.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

PIECE = 2**14


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], *, scale: float) -> Array:
    """Returns normally distributed values of standard deviation `scale`, in float32.

    The same key gives the same values, whether or not it is traced (up to rounding).
    """
    key = rngs.params()
    if isinstance(key, jax.core.Tracer) or jax.default_backend() != "cpu":
        return jnp.asarray(_pieces(key, shape) * scale)
    count = math.prod(shape)
    pieces = range(-(-count // PIECE))
    values = np.concatenate([np.asarray(_compiled_piece(key, index)) for index in pieces])
    return on_device(values[:count].reshape(shape) * np.float32(scale))


def constant(shape: tuple[int, ...], value: float) -> Array:
    """Returns an array of one value, made on the host: nothing is compiled for its shape."""
    return on_device(np.full(shape, value, np.float32))


def on_device(values: np.ndarray) -> Array:
    """Returns a copy on the device, for whose shape nothing is compiled.

    A host array whose address suits XLA would be shared and not copied, and could never be
    donated to a training step; so this one lies elsewhere.
    """
    raw = np.empty(values.nbytes + 64, np.uint8)
    start = (values.itemsize - raw.ctypes.data) % 64
    place = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    place[...] = values
    return jnp.asarray(jax.device_put(place))


@partial(jax.jit, static_argnums=1)
def _pieces(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    drawn = jax.vmap(_piece, in_axes=(None, 0))(key, jnp.arange(-(-count // PIECE)))
    return jnp.asarray(drawn.reshape(-1)[:count].reshape(shape))


def _piece(key: PRNGKeyArray, index: Array) -> Float[Array, " P"]:
    return jax.random.normal(jax.random.fold_in(key, index), (PIECE,), jnp.float32)


_compiled_piece = jax.jit(_piece)
