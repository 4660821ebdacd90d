"""Optimisers and learning rates of proxy training.

The learning rate is a function of the fraction of the budget that is spent, given to the step as
an argument: under a fixed clock a schedule over step numbers would favour slow blocks
(shared design, gap 4), and an argument needs no recompilation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from search.spec import Proxy

Tree: TypeAlias = Any
Schedule = Literal["cosine", "inverse_sqrt", "linear", "constant"]

# Section 4 of arXiv:2306.00008: Adafactor with beta1 = 0 and beta2 = 0.99.
ADAFACTOR_BETA2 = 0.99
BLOCK_RMS_LIMIT = 1.0
ADAM_BETA1 = 0.9
ADAM_BETA2 = 0.98
ADAM_EPSILON = 1e-9


class Optimizer(NamedTuple):
    """A pure optimiser.

    Attributes:
        init: Parameters to state.
        update: (gradients, state, parameters, learning rate) to (parameters, state).
    """

    init: Callable[[Tree], Tree]
    update: Callable[[Tree, Tree, Tree, jax.Array], tuple[Tree, Tree]]


def learning_rate(
    fraction: jax.Array | float,
    *,
    peak: float,
    warmup_fraction: float,
    schedule: Schedule,
) -> jax.Array:
    """Returns the learning rate at a fraction of the budget.

    All but `inverse_sqrt` rise linearly to the peak until `warmup_fraction`. `inverse_sqrt` is
    the paper's: constant until then, afterwards falling with the root of the budget spent
    (section 4 of arXiv:2306.00008 says so of step numbers).
    """
    spent = jnp.asarray(fraction, jnp.float32)
    warm = max(warmup_fraction, 1e-6)
    rise = jnp.minimum(1.0, spent / warm) if warmup_fraction > 0 else jnp.float32(1.0)
    left = jnp.clip((1.0 - spent) / (1.0 - min(warmup_fraction, 0.999)), 0.0, 1.0)
    shapes: dict[str, jax.Array] = {
        "cosine": rise * 0.5 * (1.0 - jnp.cos(jnp.pi * left)),
        "linear": rise * left,
        "constant": rise,
        "inverse_sqrt": jnp.minimum(1.0, jnp.sqrt(warm / jnp.maximum(spent, 1e-9))),
    }
    return peak * shapes[schedule]


def build_optimizer(proxy: Proxy, *, stacked_axes: Tree | None = None) -> Optimizer:
    """Returns the proxy's optimiser, gradient clipping included.

    Args:
        proxy: Names the optimiser and the clipping norm.
        stacked_axes: Per parameter, how many leading axes only stack alike parameters (blocks
            of a scan, experts); none by default. Adafactor is mapped over them, since what it
            factors and clips is one matrix.
    """
    inner = _OPTIMIZERS[proxy.optimizer](stacked_axes)
    clip = optax.clip_by_global_norm(proxy.gradient_clip) if proxy.gradient_clip > 0 else None

    def update(
        gradients: Tree, state: Tree, parameters: Tree, rate: jax.Array
    ) -> tuple[Tree, Tree]:
        if clip is not None:
            gradients, _ = clip.update(gradients, optax.EmptyState())
        directions, state = inner.update(gradients, state, parameters)
        moved = jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), parameters, directions)
        return moved, state

    return Optimizer(inner.init, update)


def adafactor_decay(step: jax.Array, beta2: float) -> jax.Array:
    """Returns the decay of Adafactor's second moment at a step, counted from 0.

    b(1 - b^i) / (1 - b^(i+1)) makes the running mean unbiased, as Adam's correction does.
    optax's own `decay_rate` is the exponent of a power law, not beta2.
    """
    count = jnp.asarray(step, jnp.float32)
    result: jax.Array = beta2 * (1.0 - beta2**count) / (1.0 - beta2 ** (count + 1.0))
    return result


def _adam(stacked_axes: Tree | None) -> optax.GradientTransformation:
    del stacked_axes  # Adam works element by element
    return optax.scale_by_adam(b1=ADAM_BETA1, b2=ADAM_BETA2, eps=ADAM_EPSILON)


def _adafactor(stacked_axes: Tree | None) -> optax.GradientTransformation:
    single = optax.chain(
        optax.scale_by_factored_rms(
            decay_rate=ADAFACTOR_BETA2,
            decay_rate_fn=adafactor_decay,
        ),
        optax.clip_by_block_rms(BLOCK_RMS_LIMIT),
    )
    return single if stacked_axes is None else _mapped(single, stacked_axes)


_OPTIMIZERS: dict[str, Callable[[Tree | None], optax.GradientTransformation]] = {
    "adam": _adam,
    "adafactor": _adafactor,
}


def _mapped(
    single: optax.GradientTransformation, stacked_axes: Tree
) -> optax.GradientTransformation:
    """Returns `single`, applied to each parameter alone and mapped over its stacked axes."""
    depths = jax.tree.leaves(stacked_axes)

    def init(parameters: Tree) -> list[Tree]:
        leaves = jax.tree.leaves(parameters)
        return [_vmap(single.init, n)(leaf) for leaf, n in zip(leaves, depths, strict=True)]

    def update(
        gradients: Tree, state: list[Tree], parameters: Tree | None = None
    ) -> tuple[Tree, list[Tree]]:
        leaves, structure = jax.tree.flatten(gradients)
        owned = jax.tree.leaves(parameters)
        results = [
            _vmap(single.update, n)(gradient, one, parameter)
            for gradient, one, parameter, n in zip(leaves, state, owned, depths, strict=True)
        ]
        return (
            jax.tree.unflatten(structure, [direction for direction, _ in results]),
            [one for _, one in results],
        )

    return optax.GradientTransformation(init, update)


def _vmap(function: Callable[..., Any], times: int) -> Callable[..., Any]:
    for _ in range(times):
        function = jax.vmap(function)
    return function
