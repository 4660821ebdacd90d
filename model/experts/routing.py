"""Routing rules: which expert computes which token, and with what weight.

Every rule turns router probabilities into slots: a fixed number of places per expert (or per
block of one expert's tokens), each with a token and a weight. Fixed shapes compile once, gather
and multiply well, and expert choice fills them exactly. Rules, by gating and phase:

| gating        | training                             | evaluation, export, generation  |
| top_1, top_2  | capacity that accrues with position  | dropless                        |
| expert_choice | across the batch at one position     | threshold: tracked cut-offs     |

None of these looks at later tokens of a row; the evaluation rules look at no other row either.
`paper_*` rules reproduce arXiv:2306.00008 and arXiv:2006.16668: they leak the future.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from brainformer.model.experts.expert_dispatch import Slots, take

# Above these, comparing all pairs of rows costs more than sorting them, and all pairs of
# positions more than running over them. Pairs compile to one kernel, running sums to several.
PAIRWISE_ROWS = 64
PAIRWISE_POSITIONS = 128


class RoutingState(nnx.Variable[Array]):
    """Running estimates of a router, updated in place by training steps, never by gradients."""


class RoutingReport(NamedTuple):
    """What one MoE sub-layer's routing looked like.

    Attributes:
        load_balance: Switch's auxiliary loss (arXiv:2101.03961, equation 4); 1 is balanced.
            0 for expert choice, which is balanced by construction.
        router_z: Mean squared log-partition of the router (arXiv:2202.08906).
        drop_fraction: Top-k: share of choices that found no room. Expert choice: share of
            tokens that no expert computes.
        experts_per_token: Experts that compute a token, on average.
        expert_load: Share of all computed tokens, per expert.
    """

    load_balance: Float[Array, ""]
    router_z: Float[Array, ""]
    drop_fraction: Float[Array, ""]
    experts_per_token: Float[Array, ""]
    expert_load: Float[Array, " E"]


def preferences(probabilities: Float[Array, "T E"]) -> Int[Array, "T E"]:
    """Returns the place of each expert in a token's order: 0 for its first choice, and so on.

    Ties go to the lower index.
    """
    return _ranks(jax.lax.stop_gradient(probabilities))


def top_k_gates(
    probabilities: Float[Array, "T E"], order: Int[Array, "T E"], k: int
) -> Float[Array, "T E"]:
    """Returns the weight of each chosen expert, 0 elsewhere.

    One choice keeps its probability (Switch: the router needs a gradient); two share a sum of 1
    (GShard). Dropped choices do not raise the weight of what is left.
    """
    chosen = jnp.where(order < k, probabilities, 0.0)
    return chosen if k == 1 else chosen / jnp.sum(chosen, axis=-1, keepdims=True)


class TokenChoice(NamedTuple):
    """What tokens chose among experts, as far as there is room.

    Attributes:
        slots: Each expert's tokens, and their weights.
        wanted: Choices of each expert.
        taken: Those of them that found room.
    """

    slots: Slots
    wanted: Float[Array, " E"]
    taken: Float[Array, " E"]


def turns_with_capacity(
    probabilities: Float[Array, "T E"],
    order: Int[Array, "T E"],
    k: int,
    *,
    batch: int,
    capacity_factor: float,
) -> TokenChoice:
    """Returns each expert's tokens, in order of position.

    An expert's capacity accrues evenly with the position, so that the last positions find as
    much room as the first; room that is not used is kept. At one position all first choices
    stand before all second choices, in row order. A token competes with earlier positions and
    with its own position in other rows alone, so nothing later can evict it.
    """
    tokens, experts = order.shape
    length = tokens // batch
    share = capacity_factor * batch / experts
    rows = order.reshape(batch, length, experts).transpose(1, 2, 0)  # (S, E, B)
    chosen = rows < k
    # First choices before second ones, then by row; those who want nothing stand last.
    key = jnp.where(chosen, rows * batch + jnp.arange(batch), k * batch)
    turn = _turns(key)
    demand = jnp.sum(chosen.astype(jnp.float32), axis=-1)  # exact up to 2**24
    steps = jnp.arange(1, length + 1, dtype=jnp.float32)
    capacity = jnp.minimum(jnp.floor(share * steps + 1e-4), float(tokens))[:, None]
    earlier = _sum_before(demand)
    # Lindley's recursion in closed form: taken[s] = min(taken[s-1] + demand[s], capacity[s]).
    taken = earlier + _least_before(capacity - earlier[:-1] - demand)
    turn = turn + taken[:-1, :, None].astype(jnp.int32)
    admitted = chosen & (turn < capacity[..., None])
    places = max(1, min(tokens, int(share * length + 1e-4)))
    place = jnp.where(admitted, jnp.arange(experts)[:, None] * places + turn, -1)
    place = place.transpose(2, 0, 1).reshape(tokens, experts)
    slots = _slots_of_choices(probabilities, order, place, k, places)
    return TokenChoice(slots, earlier[-1], taken[-1])


def _slots_of_choices(
    probabilities: Float[Array, "T E"],
    order: Int[Array, "T E"],
    place: Int[Array, "T E"],
    k: int,
    places: int,
) -> Slots:
    """Returns the slots of what each token's k choices are admitted to; `place` -1 for none."""
    tokens, experts = order.shape
    own = order[:, None] == jnp.arange(k)[:, None]  # (T, k, E)
    held = jnp.max(jnp.where(own, place[:, None], -1), axis=-1)
    gates = jnp.sum(jnp.where(own, probabilities[:, None], 0.0), axis=-1)
    if k > 1:
        gates = gates / jnp.sum(gates, axis=-1, keepdims=True)
    target = jnp.where(held < 0, experts * places, held).reshape(-1)
    empty = jnp.full((experts * places,), tokens * k, jnp.int32)
    choice = empty.at[target].set(jnp.arange(tokens * k), mode="drop")
    choice = choice.reshape(experts, places)
    filled = choice < tokens * k
    choice = jnp.where(filled, choice, 0)
    weights = jnp.where(filled, take(gates.reshape(-1), choice, held.reshape(-1, 1)), 0.0)
    return Slots(choice // k, weights, places=held)


def _turns(key: Int[Array, "S E B"]) -> Int[Array, "S E B"]:
    """Returns how many smaller keys the last axis has; of equal keys the answer is any."""
    if key.shape[-1] <= PAIRWISE_ROWS:
        return jnp.sum(key[..., None, :] < key[..., :, None], axis=-1)
    return jnp.argsort(jnp.argsort(key, axis=-1), axis=-1)


def _sum_before(values: Float[Array, "S E"]) -> Float[Array, "S+1 E"]:
    """Returns the sum of all that stands before each position, and before the end."""
    length = values.shape[0]
    if length > PAIRWISE_POSITIONS:
        return jnp.concatenate([jnp.zeros((1, values.shape[1])), jnp.cumsum(values, axis=0)])
    seen = np.tri(length + 1, length, -1, np.float32)
    return jnp.matmul(seen, values, precision=jax.lax.Precision.HIGHEST)


def _least_before(values: Float[Array, "S E"]) -> Float[Array, "S+1 E"]:
    """Returns the least of 0 and all that stands before each position, and before the end."""
    length = values.shape[0]
    if length > PAIRWISE_POSITIONS:
        return jax.lax.cummin(jnp.concatenate([jnp.zeros((1, values.shape[1])), values]), axis=0)
    seen = jnp.arange(length)[:, None] < jnp.arange(length + 1)[:, None, None]
    return jnp.min(jnp.where(seen, values, 0.0), axis=1, initial=0.0)


class RowChoice(NamedTuple):
    """What experts chose among the rows of a batch.

    Attributes:
        tokens: Index of the token in each place.
        weights: Its probability, through which the router learns.
        missed: Share of tokens that no expert chose.
    """

    tokens: Int[Array, "E C"]
    weights: Float[Array, "E C"]
    missed: Float[Array, ""]


def choose_across_batch(probabilities: Float[Array, "T E"], *, batch: int, rows: int) -> RowChoice:
    """Returns the `rows` best tokens of each expert at each position.

    Rows are compared with one another at one position, never positions with one another: the
    causal form of expert choice for training.
    """
    tokens, experts = probabilities.shape
    length = tokens // batch
    scores = probabilities.reshape(batch, length, experts).transpose(2, 1, 0)
    best, row, missed = (_rank_rows if batch <= PAIRWISE_ROWS else _sort_rows)(scores, rows)
    token = (row * length + jnp.arange(length)[:, None]).reshape(experts, length * rows)
    return RowChoice(token, best.reshape(token.shape), missed)


BestRows = tuple[Float[Array, "E S R"], Int[Array, "E S R"], Float[Array, ""]]


def _rank_rows(scores: Float[Array, "E S B"], rows: int) -> BestRows:
    """Returns the highest scores of the last axis, their rows, and the share of none.

    Ties go to the lower row. Ranks from comparing all pairs: no sort, and neither gather nor
    scatter, forwards or backwards.
    """
    rank = _ranks(jax.lax.stop_gradient(scores))
    picked = rank[..., None, :] == jnp.arange(rows)[:, None]
    best = jnp.sum(jnp.where(picked, scores[..., None, :], 0.0), axis=-1)
    row = jnp.sum(picked * jnp.arange(scores.shape[-1]), axis=-1)
    return best, row, 1.0 - jnp.mean(jnp.any(rank < rows, axis=0).reshape(-1))


def _sort_rows(scores: Float[Array, "E S B"], rows: int) -> BestRows:
    """Returns the same for many rows, where comparing all pairs costs more than sorting."""
    best, row = jax.lax.top_k(scores, rows)
    position = jnp.arange(scores.shape[1])[:, None]
    met = jnp.zeros(scores.shape[1:], jnp.bool_).at[position, row].set(True)
    return best, row, 1.0 - jnp.mean(met)


def _ranks(values: Float[Array, "*N n"]) -> Int[Array, "*N n"]:
    """Returns how many of the last axis stand before each: those above it, and equal ones before.

    Few are compared pair by pair.
    """
    count = values.shape[-1]
    if count > PAIRWISE_ROWS:
        return jnp.argsort(jnp.argsort(-values, axis=-1), axis=-1)
    index = jnp.arange(count)
    other, own = values[..., None, :], values[..., :, None]
    before = (other > own) | ((other == own) & (index[None, :] < index[:, None]))
    return jnp.sum(before, axis=-1)


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
    return RowChoice(token, best.reshape(token.shape), 1.0 - jnp.mean(met))


def paper_top_k(
    probabilities: Float[Array, "T E"],
    order: Int[Array, "T E"],
    k: int,
    *,
    batch: int,
    places: int,
) -> TokenChoice:
    """Returns each expert's tokens in GShard's order, each row a group.

    The rule of arXiv:2006.16668. NOT causal with two choices: every first choice of a row is
    placed before any second choice, so a later token evicts an earlier token's second choice.
    """
    tokens, experts = order.shape
    length = tokens // batch
    grouped = order.reshape(batch, length, experts)
    wanted = jnp.concatenate([grouped == choice for choice in range(k)], axis=1)
    turn = jnp.cumsum(wanted, axis=1) - 1
    token = jnp.arange(batch)[:, None] * length + jnp.tile(jnp.arange(length), k)
    shape = wanted.shape
    expert = jnp.broadcast_to(jnp.arange(experts), shape)
    place = jnp.where(wanted & (turn < places), turn, places)
    row = jnp.broadcast_to(jnp.arange(batch)[:, None, None], shape)
    empty = jnp.full((experts, batch, places), -1, jnp.int32)
    filled = empty.at[expert, row, place].set(
        jnp.broadcast_to(token[..., None], shape), mode="drop"
    )
    filled = filled.reshape(experts, batch * places)
    chosen = jnp.maximum(filled, 0)
    weights = weights_of(top_k_gates(probabilities, order, k), chosen, filled >= 0)
    return TokenChoice(
        Slots(chosen, weights), wanted.sum((0, 1), jnp.float32), (filled >= 0).sum(1, jnp.float32)
    )


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


def weights_of(
    gates: Float[Array, "T E"], tokens: Int[Array, "E C"], filled: Bool[Array, "E C"]
) -> Float[Array, "E C"]:
    """Returns the weight of each place; row i of `tokens` belongs to expert i."""
    return jnp.where(filled, jnp.take_along_axis(gates.T, tokens, axis=1), 0.0)
