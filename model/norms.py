"""Normalisation over the model dim, computed in float32."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from brainformer.model.initial import constant

EPSILON = 1e-6


class RMSNorm(nnx.Module):
    """x over its root mean square, times a learned scale (arXiv:1910.07467)."""

    def __init__(self, dim: int) -> None:
        self.scale = nnx.Param(constant((dim,), 1.0))

    def __call__(self, x: Float[Array, "T d"]) -> Float[Array, "T d"]:
        """Returns the normalised activations in the dtype of `x`."""
        return rms_normalised(x, self.scale[...])


@jax.custom_vjp
def rms_normalised(x: Float[Array, "T d"], scale: Float[Array, " d"]) -> Float[Array, "T d"]:
    """Returns x over its root mean square, times the scale.

    The derivative is written out: what jax derives reaches `x` by two ways through the mean, and
    compiles to twice as many kernels on a CPU.
    """
    return _normalise(x, scale)[0]


# The input, the scale, one over the root mean square, and the output.
Saved = tuple[Float[Array, "T d"], Float[Array, " d"], Float[Array, "T 1"], Float[Array, "T d"]]


def _normalise(
    x: Float[Array, "T d"], scale: Float[Array, " d"]
) -> tuple[Float[Array, "T d"], Saved]:
    wide = x.astype(jnp.float32)
    inverse = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + EPSILON)
    normalised = (wide * inverse * scale).astype(x.dtype)
    return normalised, (x, scale, inverse, normalised)


def _normalise_backward(
    saved: Saved, gradient: Float[Array, "T d"]
) -> tuple[Float[Array, "T d"], Float[Array, " d"]]:
    x, scale, inverse, normalised = saved
    wide, gradient = x.astype(jnp.float32), gradient.astype(jnp.float32)
    along = jnp.mean(gradient * normalised, axis=-1, keepdims=True)
    share = gradient * inverse
    to_x = share * scale - wide * (along * inverse * inverse)
    return to_x.astype(x.dtype), jnp.sum(share * wide, axis=0)


rms_normalised.defvjp(_normalise, _normalise_backward)


class LayerNorm(nnx.Module):
    """x less its mean over its standard deviation, times a scale, plus a bias."""

    def __init__(self, dim: int) -> None:
        self.scale = nnx.Param(constant((dim,), 1.0))
        self.bias = nnx.Param(constant((dim,), 0.0))

    def __call__(self, x: Float[Array, "T d"]) -> Float[Array, "T d"]:
        """Returns the normalised activations in the dtype of `x`."""
        wide = x.astype(jnp.float32)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        inverse = jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + EPSILON)
        return (centred * inverse * self.scale[...] + self.bias[...]).astype(x.dtype)


NORMS: dict[str, type[RMSNorm | LayerNorm]] = {"rms_norm": RMSNorm, "layer_norm": LayerNorm}


def make_norm(name: str, dim: int) -> RMSNorm | LayerNorm:
    """Returns the norm of that name over `dim` channels."""
    return NORMS[name](dim)
