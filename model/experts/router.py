"""A router: its scores, the losses that keep them in bounds, and the cut-offs of evaluation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# How far an expert's cut-off moves when it admits twice its share: far at first, as the router
# does, and later so little that a batch's noise moves what it admits by about a percent.
FIRST_CUTOFF_STEP = 0.5
LAST_CUTOFF_STEP = 0.03
SETTLING_STEPS = 10.0


def load_balance_loss(
    probabilities: Float[Array, "T E"], wanted: Float[Array, " E"], k: int
) -> Float[Array, ""]:
    """Returns experts x sum of (share of choices x mean probability); 1 when balanced."""
    share = wanted / (probabilities.shape[0] * k)
    return probabilities.shape[-1] * jnp.sum(share * jnp.mean(probabilities, axis=0))


def scores(
    router: Float[Array, "d E"], x: Float[Array, "T d"]
) -> tuple[Float[Array, "T E"], Float[Array, ""]]:
    """Returns the router's probabilities over experts in float32, and its z-loss.

    The z-loss is the mean squared log-partition, which keeps router logits small
    (arXiv:2202.08906); it shares the softmax's sum.
    """
    probabilities, log_partition = _softmax(x.astype(jnp.float32) @ router)
    return probabilities, jnp.mean(jnp.square(log_partition))


@jax.custom_vjp
def _softmax(logits: Float[Array, "T E"]) -> tuple[Float[Array, "T E"], Float[Array, " T"]]:
    """Returns the softmax and the logarithm of its sum, with one derivative for both."""
    largest = jnp.max(logits, axis=-1)
    exponentials = jnp.exp(logits - largest[:, None])
    total = jnp.sum(exponentials, axis=-1)
    return exponentials / total[:, None], jnp.log(total) + largest


def _softmax_forward(logits: Float[Array, "T E"]) -> tuple[Any, Float[Array, "T E"]]:
    out = _softmax(logits)
    return out, out[0]


def _softmax_backward(
    probabilities: Float[Array, "T E"], gradients: tuple[Float[Array, "T E"], Float[Array, " T"]]
) -> tuple[Float[Array, "T E"]]:
    to_each, to_partition = gradients
    mean = jnp.sum(to_each * probabilities, axis=-1)
    return (probabilities * (to_each + (to_partition - mean)[:, None]),)


_softmax.defvjp(_softmax_forward, _softmax_backward)


def threshold_gates(
    probabilities: Float[Array, "T E"], cutoff: Float[Array, " E"]
) -> Float[Array, "T E"]:
    """Returns each token's weight where its score is above the expert's cut-off, 0 elsewhere.

    Expert threshold routing (arXiv:2603.11535): a token's experts depend on that token alone.
    """
    return jnp.where(probabilities > cutoff, probabilities, 0.0)


def admitted_share(
    probabilities: Float[Array, "T E"], cutoff: Float[Array, " E"]
) -> Float[Array, " E"]:
    """Returns the share of tokens that each expert would take by `threshold_gates`."""
    scores = jax.lax.stop_gradient(probabilities)
    return jnp.mean((scores > cutoff).astype(jnp.float32), axis=0)


def tracked_cutoff(
    cutoff: Float[Array, " E"],
    admitted: Float[Array, " E"],
    share: Float[Array, ""] | float,
    steps: Float[Array, ""],
) -> Float[Array, " E"]:
    """Returns the cut-offs moved towards admitting `share` of the tokens each.

    Stochastic approximation of a quantile (Robbins and Monro, 1951), in the logarithm, since scores
    are skewed and of any size. What the threshold admits is what is steered: the mean of the scores
    that were admitted last, an order statistic, lies above the quantile that it stands for, so that
    experts would take half their share.

    Args:
        cutoff: Present cut-offs, in (0, 1].
        admitted: Share of a training batch above them.
        share: Share of the tokens that training gives each expert.
        steps: Training steps so far.
    """
    gain = jnp.maximum(LAST_CUTOFF_STEP, FIRST_CUTOFF_STEP / (1.0 + steps / SETTLING_STEPS))
    excess = jnp.minimum(admitted / share - 1.0, 3.0)
    return jnp.minimum(cutoff * jnp.exp(gain * excess), 1.0)
