"""Optimised routing beside naive references: plain loops over tokens and experts, in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from brainformer.model.decoder import build_model, next_token_loss
from brainformer.model.experts import routing
from brainformer.model.experts.moe import MoELayer
from brainformer.model.experts.routing import (
    choose_across_batch,
    pack_blocks,
    paper_expert_choice,
    paper_top_k,
    preferences,
    turns_with_capacity,
)
from tests.model.models import (
    ATTENTION,
    moe,
    random_tokens,
    small_config,
)

BATCH, LENGTH, EXPERTS = 8, 12, 4
TOKENS = BATCH * LENGTH


def probabilities(seed=0, batch=BATCH):
    logits = jax.random.normal(jax.random.key(seed), (batch * LENGTH, EXPERTS)) * 2
    return jax.nn.softmax(logits)


def token(row, position):
    return row * LENGTH + position


def admitted_by(choice):
    """Returns each expert's tokens under token choice; every filled place has a weight."""
    return admitted(choice.slots.tokens, choice.slots.weights > 0)


def admitted(tokens, filled=None):
    tokens = np.asarray(tokens)
    kept = np.ones_like(tokens, bool) if filled is None else np.asarray(filled)
    return [sorted(row[keep].tolist()) for row, keep in zip(tokens, kept, strict=True)]


@pytest.mark.parametrize("pairs", [True, False], ids=["in pairs", "sorted and run over"])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.25, 2.0])
def test_capacity_goes_to_positions_in_order_and_first_choices_first(monkeypatch, k, factor, pairs):
    if not pairs:
        monkeypatch.setattr(routing, "PAIRWISE_ROWS", 2)
        monkeypatch.setattr(routing, "PAIRWISE_POSITIONS", 2)
    p = probabilities()
    order = np.argsort(-np.asarray(p), axis=1, kind="stable")
    expected = [[] for _ in range(EXPERTS)]
    for position in range(LENGTH):
        capacity = int(factor * BATCH * (position + 1) / EXPERTS + 1e-4)
        for choice in range(k):
            for row in range(BATCH):
                expert = order[token(row, position), choice]
                if len(expected[expert]) < capacity:
                    expected[expert].append(token(row, position))

    got = turns_with_capacity(p, preferences(p), k, batch=BATCH, capacity_factor=factor)

    assert admitted_by(got) == [sorted(tokens) for tokens in expected]
    assert got.taken.tolist() == [len(tokens) for tokens in expected]
    assert got.wanted.tolist() == np.bincount(order[:, :k].reshape(-1), minlength=4).tolist()


def test_equal_experts_are_preferred_by_index():
    p = jnp.array([[0.2, 0.3, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]])

    assert preferences(p).tolist() == [[2, 0, 1, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize("batch", [8, 80])  # below and above the pairwise comparison's limit
def test_experts_choose_the_best_rows_at_each_position(batch):
    p = np.asarray(probabilities(batch=batch))
    rows = batch // EXPERTS
    expected = [[] for _ in range(EXPERTS)]
    for position in range(LENGTH):
        for expert in range(EXPERTS):
            scores = p[position::LENGTH, expert]
            best = np.argsort(-scores, kind="stable")[:rows]
            expected[expert] += [token(row, position) for row in best]

    choice = choose_across_batch(jnp.asarray(p), batch=batch, rows=rows)

    assert admitted(choice.tokens) == [sorted(chosen) for chosen in expected]
    met = {token for chosen in expected for token in chosen}
    assert float(choice.missed) == pytest.approx(1 - len(met) / len(p), abs=1e-6)
    taken = p[choice.tokens, np.arange(EXPERTS)[:, None]]
    np.testing.assert_allclose(choice.weights, taken, rtol=1e-6)


@pytest.mark.parametrize("batch", [8, 80])
def test_router_learns_through_the_weights_of_chosen_rows_alone(batch):
    p = probabilities(batch=batch)
    rows = batch // EXPERTS
    chosen = choose_across_batch(p, batch=batch, rows=rows).tokens

    gradient = jax.grad(lambda p: jnp.sum(choose_across_batch(p, batch=batch, rows=rows).weights))(
        p
    )

    expected = np.zeros(p.shape)
    expected[chosen, np.arange(EXPERTS)[:, None]] = 1
    np.testing.assert_array_equal(gradient, expected)


def test_equal_scores_are_settled_by_row():
    even = jnp.full((TOKENS, EXPERTS), 0.25)
    tokens = choose_across_batch(even, batch=BATCH, rows=2).tokens

    assert admitted(tokens)[0] == sorted(token(row, s) for row in (0, 1) for s in range(LENGTH))


def test_paper_expert_choice_picks_over_the_sequence():
    p = np.asarray(probabilities())
    expected = [
        sorted(
            token(row, s)
            for row in range(BATCH)
            for s in np.argsort(-p[row * LENGTH : (row + 1) * LENGTH, e], kind="stable")[:3]
        )
        for e in range(EXPERTS)
    ]

    choice = paper_expert_choice(jnp.asarray(p), batch=BATCH, places=3)

    assert admitted(choice.tokens) == expected
    taken = p[choice.tokens, np.arange(EXPERTS)[:, None]]
    np.testing.assert_allclose(choice.weights, taken, rtol=1e-6)


def test_paper_top_2_places_all_first_choices_of_a_row_before_second_ones():
    p = probabilities()
    order = np.argsort(-np.asarray(p), axis=1, kind="stable")
    expected = [[] for _ in range(EXPERTS)]
    for row in range(BATCH):
        room = [4] * EXPERTS
        for choice in range(2):
            for position in range(LENGTH):
                expert = order[token(row, position), choice]
                if room[expert]:
                    room[expert] -= 1
                    expected[expert].append(token(row, position))

    got = paper_top_k(p, preferences(p), 2, batch=BATCH, places=4)

    assert admitted_by(got) == [sorted(tokens) for tokens in expected]


def test_blocks_hold_every_routed_token_once_with_its_expert():
    routed = np.asarray(probabilities() > 0.3)
    packed, expert, used = pack_blocks(jnp.asarray(routed), block=8, blocks=52)

    pairs = [(t, int(expert[i])) for i in range(52) for t in packed[i].tolist() if t < TOKENS]
    assert sorted(pairs) == sorted(zip(*(a.tolist() for a in np.nonzero(routed)), strict=True))
    assert used == sum(-(-int(n) // 8) for n in routed.sum(0))


def naive_mixture(layer: MoELayer, x, gates):
    """Each token through each of its experts, one at a time, in float64."""
    up, down = np.asarray(layer.up[...], np.float64), np.asarray(layer.down[...], np.float64)
    out = np.zeros(x.shape)
    for t, expert in zip(*np.nonzero(gates), strict=True):
        hidden = np.maximum(np.asarray(x[t], np.float64) @ up[expert], 0)
        out[t] += gates[t, expert] * (hidden @ down[expert])
    return out


@pytest.mark.parametrize("gating", ["top_1", "top_2", "expert_choice"])
@pytest.mark.parametrize("factor", [0, 1.0, 2.0])
@pytest.mark.parametrize("training", [True, False])
def test_mixture_equals_one_token_and_one_expert_at_a_time(gating, factor, training):
    if gating == "expert_choice" and factor == 0:
        factor = 1.5
    config = small_config(moe(gating, factor, "relu"))
    layer = MoELayer(config.genome.layers[0], config, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (TOKENS, 16))
    p = np.asarray(jax.nn.softmax(x @ layer.router[...]))
    if gating == "expert_choice":
        if training:
            rows = int(factor * BATCH / EXPERTS)
            kept = admitted(choose_across_batch(jnp.asarray(p), batch=BATCH, rows=rows).tokens)
        else:
            kept = [np.nonzero(p[:, e] > 0.25)[0].tolist() for e in range(EXPERTS)]
        gates = p
    else:
        k = 1 if gating == "top_1" else 2
        order = preferences(jnp.asarray(p))
        chosen = np.asarray(order < k)
        gates = p if gating == "top_1" else p / (p * chosen).sum(1, keepdims=True)
        kept = [np.nonzero(chosen[:, e])[0].tolist() for e in range(EXPERTS)]
        if training and factor:
            kept = admitted_by(
                turns_with_capacity(jnp.asarray(p), order, k, batch=BATCH, capacity_factor=factor)
            )
    mask = np.zeros_like(p, bool)
    for expert, tokens in enumerate(kept):
        mask[tokens, expert] = True

    out, report = layer(x, batch=BATCH, training=training)

    np.testing.assert_allclose(out, naive_mixture(layer, x, p * 0 + gates * mask), atol=2e-5)
    np.testing.assert_allclose(report.expert_load, mask.sum(0) / mask.sum(), atol=1e-6)
    if gating != "expert_choice":
        k = 1 if gating == "top_1" else 2
        assert float(report.drop_fraction) == pytest.approx(1 - mask.sum() / (TOKENS * k), abs=1e-6)


def test_running_cutoffs_move_in_training_alone():
    config = small_config(ATTENTION, moe("expert_choice"))
    model = build_model(config, key=jax.random.key(0))
    layer = model.blocks[0].layers[1].inner
    before = np.asarray(layer.cutoff[...])

    next_token_loss(model, random_tokens(config, extra=1), training=False)
    assert np.array_equal(layer.cutoff[...], before)

    next_token_loss(model, random_tokens(config, extra=1), training=True)
    assert not np.array_equal(layer.cutoff[...], before)
    assert float(layer.steps[...]) == 1


@pytest.mark.parametrize("batch", [8, 32, 256])
@pytest.mark.parametrize("factor", [1, 2])
def test_evaluation_admits_as_many_tokens_as_training(batch, factor):
    layer, scores = trained_router(batch=batch, factor=factor, steps=400)
    admitted = float(jnp.mean(jnp.sum(scores > layer.cutoff[...], axis=1)))
    assert admitted == pytest.approx(factor, rel=0.05)


def test_cutoffs_follow_a_router_that_becomes_surer():
    layer, scores = trained_router(batch=16, factor=1, steps=400, growth=3.0)
    admitted = float(jnp.mean(jnp.sum(scores > layer.cutoff[...], axis=1)))
    assert admitted == pytest.approx(1, rel=0.05)


def trained_router(*, batch, factor, steps, growth=1.0):
    """Returns a layer whose router's logits grow while it is trained, and scores of new tokens."""
    length = max(1, 2048 // batch)
    config = small_config(
        moe("expert_choice", capacity_factor=factor), batch_size=batch, sequence_length=length
    )
    layer = MoELayer(config.genome.layers[0], config, rngs=nnx.Rngs(0))
    graph, fixed, routing = nnx.split(layer, nnx.Param, ...)
    first = fixed["router"][...]

    def scaled(scale):
        return nnx.State({**fixed, "router": nnx.Param(first * scale)})

    @jax.jit
    def step(routing, key, scale):
        one = nnx.merge(graph, scaled(scale), routing, copy=True)
        one(jax.random.normal(key, (batch * length, 16)), batch=batch, training=True)
        return nnx.split(one, nnx.Param, ...)[2]

    for index in range(steps):
        scale = 1 + (growth - 1) * index / steps
        routing = step(routing, jax.random.key(index), scale)
    trained = nnx.merge(graph, scaled(growth), routing)
    new = jax.random.normal(jax.random.key(10_000), (20_000, 16))
    return trained, jax.nn.softmax(new @ trained.router[...])
