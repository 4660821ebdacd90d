"""Optimisers and learning rates of proxy training.

The learning rate is a function of the fraction of the budget that is spent, given to the step as
an argument: under a fixed clock a schedule over step numbers would favour slow blocks
(docs/worker.md), and an argument needs no recompilation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from brainformer.model.initial import on_device
from brainformer.search.proxy.proxy import Proxy

Tree: TypeAlias = Any
Schedule = Literal["cosine", "inverse_sqrt", "linear", "constant"]

# Section 4 of arXiv:2306.00008: Adafactor with beta1 = 0 and beta2 = 0.99.
ADAFACTOR_BETA2 = 0.99
BLOCK_RMS_LIMIT = 1.0
ADAM_BETA1 = 0.9
ADAM_EPSILON = 1e-9


class Optimizer(NamedTuple):
    """A pure optimiser.

    Attributes:
        init: Parameters to state.
        update: (gradients, state, parameters, learning rate) to (parameters, state, gradient
            norm before clipping).
        apart: (state, parameters) to one state a parameter, whatever `init` has made one of: the
            form that checkpoints and meshes have in common.
        together: (states, parameters) back to the state.
    """

    init: Callable[[Tree], Tree]
    update: Callable[[Tree, Tree, Tree, jax.Array], tuple[Tree, Tree, jax.Array]]
    apart: Callable[[Tree, Tree], list[Tree]]
    together: Callable[[list[Tree], Tree], Tree]


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


def build_optimizer(
    proxy: Proxy, *, stacked_axes: Tree | None = None, flatten: bool = False
) -> Optimizer:
    """Returns the proxy's optimiser, gradient clipping included.

    Args:
        proxy: Names the optimiser and the clipping norm.
        stacked_axes: Per parameter, how many leading axes only stack alike parameters (blocks
            of a scan, experts); none by default. Adafactor is mapped over them, since what it
            factors and clips is one matrix.
        flatten: Whether an element-wise optimiser works on all parameters as one vector. On a
            CPU that is faster, and compiles in a tenth of the time: one loop instead of several
            a parameter. It copies the parameters, and would gather them if they were sharded.
    """
    if flatten and proxy.optimizer in ELEMENT_WISE:
        return _flattened(_clipped(_OPTIMIZERS[proxy.optimizer](proxy, None), proxy.gradient_clip))
    return _clipped(_OPTIMIZERS[proxy.optimizer](proxy, stacked_axes), proxy.gradient_clip)


def _clipped(inner: optax.GradientTransformation, limit: float) -> Optimizer:
    """Returns `inner` after clipping to the global norm `limit`; 0 leaves gradients alone."""

    def update(
        gradients: Tree, state: Tree, parameters: Tree, rate: jax.Array
    ) -> tuple[Tree, Tree, jax.Array]:
        norm = optax.tree.norm(gradients)
        if limit > 0:
            scale = jnp.minimum(1.0, limit / jnp.maximum(norm, 1e-12))
            gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)
        directions, state = inner.update(gradients, state, parameters)
        moved = jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), parameters, directions)
        return moved, state, norm

    def whole(state: Tree, parameters: Tree) -> Tree:
        del parameters
        return state

    return Optimizer(inner.init, update, apart=whole, together=whole)


def _flattened(optimizer: Optimizer) -> Optimizer:
    """Returns the optimiser, applied to one vector of all parameters."""

    def ravel(tree: Tree) -> jax.Array:
        return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(tree)])

    def update(
        gradients: Tree, state: Tree, parameters: Tree, rate: jax.Array
    ) -> tuple[Tree, Tree, jax.Array]:
        moved, state, norm = optimizer.update(ravel(gradients), state, ravel(parameters), rate)
        leaves, structure = jax.tree.flatten(parameters)
        parts = [
            jax.lax.dynamic_slice_in_dim(moved, start, leaf.size).reshape(leaf.shape)
            for leaf, start in zip(leaves, _starts(leaves, norm), strict=True)
        ]
        return jax.tree.unflatten(structure, parts), state, norm

    def init(parameters: Tree) -> Tree:
        # Element-wise optimisers start from zeros, for whose shape nothing need be compiled.
        size = sum(leaf.size for leaf in jax.tree.leaves(parameters))
        shapes = jax.eval_shape(optimizer.init, np.zeros(size, np.float32))
        return jax.tree.map(lambda one: on_device(np.zeros(one.shape, one.dtype)), shapes)

    return Optimizer(init, update, apart=_cut, together=_joined)


def _cut(state: Tree, parameters: Tree) -> list[Tree]:
    """Returns a state of each parameter; numbers that are common go to all of them."""
    leaves = jax.tree.leaves(parameters)
    ends = np.cumsum([leaf.size for leaf in leaves])

    def part(value: Any, end: int, leaf: Any) -> Any:
        if np.ndim(value) == 0:
            return value
        return value[end - leaf.size : end].reshape(leaf.shape)

    return [
        jax.tree.map(lambda value, end=int(end), leaf=leaf: part(value, end, leaf), state)
        for end, leaf in zip(ends, leaves, strict=True)
    ]


def _joined(states: list[Tree], parameters: Tree) -> Tree:
    """Returns the state that `_cut` has cut: vectors joined, what is common once."""
    del parameters

    def join(*values: Any) -> Any:
        if np.ndim(values[0]) == 0:
            return np.asarray(values[0])
        return np.concatenate([np.asarray(value).reshape(-1) for value in values])

    return jax.tree.map(join, *states)


def _starts(leaves: list[jax.Array], norm: jax.Array) -> list[jax.Array]:
    """Returns where each leaf starts in the vector, as values that XLA cannot know.

    XLA compiles equal kernels once. Cut at a known place, each of a hundred parameters has a
    kernel of its own (10 ms each on CPU: a third of a step's compilation); cut at the outcome of
    a condition, all of one shape share one. A gradient norm that is not finite has spoilt every
    parameter already, wherever it is cut.
    """
    ends = np.cumsum([leaf.size for leaf in leaves])
    starts = [int(end) - leaf.size for leaf, end in zip(leaves, ends, strict=True)]
    found: list[jax.Array] = jax.lax.cond(
        jnp.isfinite(norm),
        lambda: [jnp.int32(start) for start in starts],
        lambda: [jnp.int32(0) for _ in starts],
    )
    return found


def adafactor_decay(step: jax.Array, beta2: float) -> jax.Array:
    """Returns the decay of Adafactor's second moment at a step, counted from 0.

    b(1 - b^i) / (1 - b^(i+1)) makes the running mean unbiased, as Adam's correction does.
    optax's own `decay_rate` is the exponent of a power law, not beta2.
    """
    count = jnp.asarray(step, jnp.float32)
    result: jax.Array = beta2 * (1.0 - beta2**count) / (1.0 - beta2 ** (count + 1.0))
    return result


def _adam(proxy: Proxy, stacked_axes: Tree | None) -> optax.GradientTransformation:
    single = optax.scale_by_adam(b1=ADAM_BETA1, b2=proxy.adam_beta2, eps=ADAM_EPSILON)
    if stacked_axes is None:
        return single
    return _mapped(single, jax.tree.map(lambda _: 0, stacked_axes))  # element by element


def _adafactor(proxy: Proxy, stacked_axes: Tree | None) -> optax.GradientTransformation:
    del proxy
    single = optax.chain(
        optax.scale_by_factored_rms(
            decay_rate=ADAFACTOR_BETA2,
            decay_rate_fn=adafactor_decay,
        ),
        optax.clip_by_block_rms(BLOCK_RMS_LIMIT),
    )
    return single if stacked_axes is None else _mapped(single, stacked_axes)


_OPTIMIZERS: dict[str, Callable[[Proxy, Tree | None], optax.GradientTransformation]] = {
    "adam": _adam,
    "adafactor": _adafactor,
}


# Those that treat every element alike, whatever parameter it belongs to.
ELEMENT_WISE = frozenset({"adam"})


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
