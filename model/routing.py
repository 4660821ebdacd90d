"""Routing rules: which expert computes which token, and with what weight.

Every rule turns router probabilities into slots: a fixed number of places per expert (or per
block of one expert's tokens), each with a token and a weight. Fixed shapes compile once, gather
and multiply well, and expert choice fills them exactly. Rules, by gating and phase:

| gating        | training                             | evaluation, export, generation  |
| top_1, top_2  | capacity that accrues with position  | dropless                        |
| expert_choice | across the batch at one position     | threshold: running cut-offs     |

None of these looks at later tokens of a row; the evaluation rules look at no other row either.
`paper_*` rules reproduce arXiv:2306.00008 and arXiv:2006.16668: they leak the future.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

# Above this, comparing all pairs of rows costs more than sorting them.
PAIRWISE_ROWS = 64
CUTOFF_DECAY = 0.98


class RoutingState(nnx.Variable[Array]):
    """Running estimates of a router, updated in place by training steps, never by gradients."""


class Slots(NamedTuple):
    """Places that experts compute.

    Attributes:
        tokens: Index of the token in each place; 0 where `weights` is 0 for an empty one.
        weights: What the expert's output is multiplied with.
        experts: The expert of each row of places; None where row i is expert i.
    """

    tokens: Int[Array, "N C"]
    weights: Float[Array, "N C"]
    experts: Int[Array, " N"] | None = None


class RoutingReport(NamedTuple):
    """What one MoE sub-layer's routing looked like.

    Attributes:
        load_balance: Switch's auxiliary loss (arXiv:2101.03961, equation 4); 1 is balanced.
            0 for expert choice, which is balanced by construction.
        router_z: Mean squared log-partition of the router (arXiv:2202.08906).
        drop_fraction: Top-k: share of choices that found no room. Expert choice: share of
            tokens that no expert computes.
        expert_load: Share of all computed tokens, per expert.
    """

    load_balance: Float[Array, ""]
    router_z: Float[Array, ""]
    drop_fraction: Float[Array, ""]
    expert_load: Float[Array, " E"]


def choose_top_k(probabilities: Float[Array, "T E"], k: int) -> list[Bool[Array, "T E"]]:
    """Returns the first to k-th choice of each token, each one-hot; ties go to the lower index."""
    left = jax.lax.stop_gradient(probabilities)
    choices = []
    for _ in range(k):
        best = jnp.argmax(left, axis=-1, keepdims=True)
        choice = jnp.arange(left.shape[-1]) == best
        choices.append(choice)
        left = jnp.where(choice, -1.0, left)
    return choices


def top_k_gates(
    probabilities: Float[Array, "T E"], choices: list[Bool[Array, "T E"]]
) -> Float[Array, "T E"]:
    """Returns the weight of each chosen expert, 0 elsewhere.

    One choice keeps its probability (Switch: the router needs a gradient); two share a sum of 1
    (GShard). Dropped choices do not raise the weight of what is left.
    """
    chosen = jnp.where(any_choice(choices), probabilities, 0.0)
    if len(choices) == 1:
        return chosen
    return chosen / jnp.sum(chosen, axis=-1, keepdims=True)


def turns_with_capacity(
    choices: list[Bool[Array, "T E"]], *, batch: int, capacity_factor: float
) -> tuple[Int[Array, "E C"], Bool[Array, "E C"]]:
    """Returns each expert's tokens, in order of position, and which places are filled.

    An expert's capacity accrues evenly with the position, so that the last positions find as
    much room as the first; room that is not used is kept. At one position all first choices
    stand before all second choices, in row order. A token competes with earlier positions and
    with its own position in other rows alone, so nothing later can evict it.
    """
    tokens, experts = choices[0].shape
    length = tokens // batch
    wanted = jnp.concatenate([c.reshape(batch, length, experts) for c in choices])
    wanted = wanted.transpose(1, 0, 2).astype(jnp.float32)  # (S, kB, E), exact up to 2**24
    demand = jnp.cumsum(jnp.sum(wanted, axis=1), axis=0)
    share = capacity_factor * batch / experts
    steps = jnp.arange(1, length + 1, dtype=jnp.float32)
    capacity = jnp.minimum(jnp.floor(share * steps + 1e-4), float(tokens))[:, None]
    # Lindley's recursion in closed form: taken[s] = min(taken[s-1] + demand[s], capacity[s]).
    taken = demand + jnp.minimum(0.0, jax.lax.cummin(capacity - demand, axis=0))
    before = jnp.concatenate([jnp.zeros((1, experts)), taken[:-1]])
    turn = before[:, None] + jnp.cumsum(wanted, axis=1) - wanted
    admitted = (wanted > 0) & (turn < capacity[:, None])
    places = max(1, min(tokens, int(share * length + 1e-4)))
    token = jnp.arange(batch) * length + jnp.arange(length)[:, None]
    token = jnp.broadcast_to(jnp.tile(token, (1, len(choices)))[..., None], admitted.shape)
    expert = jnp.broadcast_to(jnp.arange(experts), admitted.shape)
    place = jnp.where(admitted, turn, places).astype(jnp.int32)
    filled = jnp.zeros((experts, places), jnp.int32).at[expert, place].set(token, mode="drop")
    return filled, jnp.arange(places) < taken[-1][:, None]


class RowChoice(NamedTuple):
    """What experts chose among the rows of a batch.

    Attributes:
        tokens: Index of the token in each place.
        weights: Its probability, through which the router learns.
        cutoff: The score of the last token that an expert admits, averaged over positions.
        missed: Share of tokens that no expert chose.
    """

    tokens: Int[Array, "E C"]
    weights: Float[Array, "E C"]
    cutoff: Float[Array, " E"]
    missed: Float[Array, ""]


def choose_across_batch(probabilities: Float[Array, "T E"], *, batch: int, rows: int) -> RowChoice:
    """Returns the `rows` best tokens of each expert at each position.

    Rows are compared with one another at one position, never positions with one another: the
    causal form of expert choice for training.
    """
    tokens, experts = probabilities.shape
    length = tokens // batch
    scores = probabilities.reshape(batch, length, experts).transpose(1, 2, 0)
    best, row, missed = (_rank_rows if batch <= PAIRWISE_ROWS else _sort_rows)(scores, rows)
    token = row * length + jnp.arange(length)[:, None, None]
    cutoff = jnp.mean(jax.lax.stop_gradient(best[..., -1]), axis=0)
    places = (experts, length * rows)
    tokens_of, weights = (part.transpose(1, 0, 2).reshape(places) for part in (token, best))
    return RowChoice(tokens_of, weights, cutoff, missed)


BestRows = tuple[Float[Array, "S E R"], Int[Array, "S E R"], Float[Array, ""]]


def _rank_rows(scores: Float[Array, "S E B"], rows: int) -> BestRows:
    """Returns the highest scores of the last axis, their rows, and the share of none.

    Ties go to the lower row. Ranks from comparing all pairs: no sort, and neither gather nor
    scatter, forwards or backwards.
    """
    fixed = jax.lax.stop_gradient(scores)
    row = jnp.arange(scores.shape[-1])
    other, own = fixed[..., None, :], fixed[..., :, None]
    beaten_by = (other > own) | ((other == own) & (row[None, :] < row[:, None]))
    rank = jnp.sum(beaten_by, axis=-1)
    picked = rank[..., None, :] == jnp.arange(rows)[:, None]
    best = jnp.sum(jnp.where(picked, scores[..., None, :], 0.0), axis=-1)
    missed = 1.0 - jnp.mean(jnp.any(rank < rows, axis=1))
    return best, jnp.sum(picked * row, axis=-1), missed


def _sort_rows(scores: Float[Array, "S E B"], rows: int) -> BestRows:
    """Returns the same for many rows, where comparing all pairs costs more than sorting."""
    best, row = jax.lax.top_k(scores, rows)
    position = jnp.arange(scores.shape[0])[:, None, None]
    met = jnp.zeros((scores.shape[0], scores.shape[-1]), jnp.bool_).at[position, row].set(True)
    return best, row, 1.0 - jnp.mean(met)


def paper_expert_choice(
    probabilities: Float[Array, "T E"], *, batch: int, places: int
) -> RowChoice:
    """Returns the `places` best tokens of each expert in each row.

    The rule of arXiv:2202.09368, which arXiv:2306.00008 uses. NOT causal: a later token with a
    higher score takes an earlier token's place.
    """
    tokens, experts = probabilities.shape
    length = tokens // batch
    scores = probabilities.reshape(batch, length, experts)
    best, position = jax.lax.top_k(scores.transpose(2, 0, 1), places)
    token = (position + jnp.arange(batch)[:, None] * length).reshape(experts, batch * places)
    met = jnp.zeros(tokens, jnp.bool_).at[token.reshape(-1)].set(True)
    cutoff = jnp.mean(jax.lax.stop_gradient(best[..., -1]), axis=1)
    return RowChoice(token, best.reshape(token.shape), cutoff, 1.0 - jnp.mean(met))


def paper_top_k(
    choices: list[Bool[Array, "T E"]], *, batch: int, places: int
) -> tuple[Int[Array, "E C"], Bool[Array, "E C"]]:
    """Returns each expert's tokens in GShard's order, each row a group, and the filled places.

    The rule of arXiv:2006.16668. NOT causal with two choices: every first choice of a row is
    placed before any second choice, so a later token evicts an earlier token's second choice.
    """
    tokens, experts = choices[0].shape
    length = tokens // batch
    wanted = jnp.concatenate([c.reshape(batch, length, experts) for c in choices], axis=1)
    turn = jnp.cumsum(wanted, axis=1) - 1
    token = jnp.arange(batch)[:, None] * length + jnp.tile(jnp.arange(length), len(choices))
    shape = wanted.shape
    expert = jnp.broadcast_to(jnp.arange(experts), shape)
    place = jnp.where(wanted & (turn < places), turn, places)
    row = jnp.broadcast_to(jnp.arange(batch)[:, None, None], shape)
    empty = jnp.full((experts, batch, places), -1, jnp.int32)
    filled = empty.at[expert, row, place].set(
        jnp.broadcast_to(token[..., None], shape), mode="drop"
    )
    filled = filled.reshape(experts, batch * places)
    return jnp.maximum(filled, 0), filled >= 0


def pack_blocks(
    routed: Bool[Array, "T E"], *, block: int, blocks: int
) -> tuple[Int[Array, "N C"], Int[Array, " N"], Int[Array, ""]]:
    """Returns tokens sorted by expert in blocks of one expert each: dropless at a fixed shape.

    Args:
        routed: Which expert computes which token.
        block: Places in a block.
        blocks: How many blocks there are; enough for ceil(n / block) of each expert's n tokens.

    Returns:
        The token of each place (T where empty), the expert of each block and the blocks in use.
    """
    tokens, experts = routed.shape
    turn = jnp.cumsum(routed, axis=0) - 1
    needed = -(-(turn[-1] + 1) // block)
    end = jnp.cumsum(needed)
    place = jnp.where(routed, (end - needed) * block + turn, blocks * block)
    token = jnp.broadcast_to(jnp.arange(tokens)[:, None], routed.shape)
    packed = jnp.full((blocks * block,), tokens, jnp.int32).at[place].set(token, mode="drop")
    expert = jnp.searchsorted(end, jnp.arange(blocks), side="right")
    return packed.reshape(blocks, block), jnp.minimum(expert, experts - 1), end[-1]


def threshold_gates(
    probabilities: Float[Array, "T E"], cutoff: Float[Array, " E"]
) -> Float[Array, "T E"]:
    """Returns each token's weight where its score is above the expert's cut-off, 0 elsewhere.

    Expert threshold routing (arXiv:2603.11535): a token's experts depend on that token alone.
    """
    return jnp.where(probabilities > cutoff, probabilities, 0.0)


def weights_of(
    gates: Float[Array, "T E"], tokens: Int[Array, "E C"], filled: Bool[Array, "E C"] | None
) -> Float[Array, "E C"]:
    """Returns the weight of each place; row i of `tokens` belongs to expert i."""
    weights = jnp.take_along_axis(gates.T, tokens, axis=1)
    return weights if filled is None else jnp.where(filled, weights, 0.0)


def load_balance_loss(
    probabilities: Float[Array, "T E"], choices: list[Bool[Array, "T E"]]
) -> Float[Array, ""]:
    """Returns experts x sum of (share of choices x mean probability); 1 when balanced."""
    share = sum(jnp.mean(c.astype(jnp.float32), axis=0) for c in choices) / len(choices)
    return probabilities.shape[-1] * jnp.sum(share * jnp.mean(probabilities, axis=0))


def scores(
    router: Float[Array, "d E"], x: Float[Array, "T d"]
) -> tuple[Float[Array, "T E"], Float[Array, ""]]:
    """Returns the router's probabilities over experts in float32, and its z-loss.

    The z-loss is the mean squared log-partition, which keeps router logits small
    (arXiv:2202.08906); it shares the softmax's sum.
    """
    logits = x.astype(jnp.float32) @ router
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    exponentials = jnp.exp(logits - largest)
    total = jnp.sum(exponentials, axis=-1, keepdims=True)
    z_loss = jnp.mean(jnp.square(jnp.log(total) + largest))
    return exponentials / total, z_loss


def any_choice(choices: list[Bool[Array, "T E"]]) -> Bool[Array, "T E"]:
    """Returns which experts a token chose at all."""
    routed = choices[0]
    for choice in choices[1:]:
        routed = routed | choice
    return routed
