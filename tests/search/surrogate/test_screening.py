"""The surrogate: what it prefers, when it fits anew, and that it depends on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from brainformer.search.space.coded_genome import CodedGenome, GenomeCoder
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space
from brainformer.search.surrogate.screening import (
    MIN_OBSERVATIONS,
    MOST_OBSERVATIONS,
    STRIDE,
    WINDOW,
    Look,
    Surrogate,
    fit_due,
    standardised,
    window_start,
)
from brainformer.search.trials.history import Observation
from tests.search.spaces import sequences

SPACE = sequences(8)
CODER = GenomeCoder(SPACE)


def _experts(genome: Genome) -> float:
    return float(sum(layer.kind == "moe" for layer in genome.layers))


def _genomes(count: int, seed: int, space: Space = SPACE) -> list[Genome]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng=rng) for _ in range(count)]


def _coded(genomes: list[Genome]) -> list[CodedGenome]:
    return [CODER.encode(genome) for genome in genomes]


def _seen(count: int, *, most_attention: int = 8) -> list[Observation]:
    """Random genomes; those with too much attention are pruned."""
    found = []
    for rank, genome in enumerate(_genomes(count, 1)):
        attention = sum(layer.kind == "attention" for layer in genome.layers)
        pruned = attention > most_attention
        found.append(Observation(rank, rank, genome, -1.0 if pruned else _experts(genome), pruned))
    return found


def _best(
    observations: list[Observation], seed: int = 0, *, by_promise: bool = False
) -> list[Genome]:
    """Returns sixty genomes in the order of their means, or of their promise."""
    children = _genomes(60, 2)
    look = _look(Surrogate(CODER), observations, seed=seed)
    order = look.see(_coded(children))
    if by_promise:
        order = look.choose()
    assert sorted(order) == list(range(60))
    return [children[index] for index in order]


def _look(
    surrogate: Surrogate,
    observations: list[Observation],
    *,
    noise: float | None = None,
    seed: int = 0,
) -> Look:
    return surrogate.look(observations, noise=noise, rng=np.random.default_rng(seed))


def _chosen(
    surrogate: Surrogate,
    children: list[Genome],
    observations: list[Observation],
    *,
    noise: float | None,
    seed: int,
) -> list[int]:
    look = _look(surrogate, observations, noise=noise, seed=seed)
    look.see(_coded(children))
    return look.choose()


def test_it_prefers_what_the_observations_prefer() -> None:
    ordered = [_experts(genome) for genome in _best(_seen(60))]
    assert np.corrcoef(ordered, np.arange(60))[0, 1] < -0.9


def test_the_unknown_is_preferred_to_the_known_where_it_promises_as_much() -> None:
    few, children = _seen(10), _genomes(60, 2)
    known = [seen.genome for seen in few]
    look = _look(Surrogate(CODER), few)
    by_mean = look.see(_coded(known + children))
    by_promise = look.choose()

    def places(order: list[int]) -> float:
        return float(np.mean([order.index(index) for index in range(len(known))]))

    assert places(by_promise) > places(by_mean)


def test_a_choice_repeats_with_its_seed_and_another_seed_believes_otherwise() -> None:
    first, again, other = (_best(_seen(10), seed, by_promise=True) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_what_is_in_flight_promises_less_and_is_liked_as_before() -> None:
    observations, children = _seen(10), _genomes(60, 2)
    first = _chosen(Surrogate(CODER), children, observations, noise=None, seed=0)
    looks = []
    for in_flight in ([], [children[index] for index in first[:3]]):
        rng = np.random.default_rng(0)
        look = Surrogate(CODER).look(observations, _coded(in_flight), noise=None, rng=rng)
        looks.append((look.see(_coded(children)), look.choose()))
    (liked, promising), (liked_then, promising_then) = looks
    assert liked_then == liked
    assert promising[:3] == first[:3]
    assert min(promising_then.index(index) for index in first[:3]) > 3


def test_what_is_in_flight_changes_nothing_of_what_is_kept() -> None:
    observations, children = _seen(40), _genomes(30, 3)
    steady, rng = Surrogate(CODER), np.random.default_rng
    steady.look(observations[:30], _coded(children[:8]), noise=None, rng=rng(1))
    answers = [
        _chosen(one, children, observations, noise=None, seed=0)
        for one in (steady, Surrogate(CODER))
    ]
    assert answers[0] == answers[1]


def test_what_will_be_pruned_promises_little() -> None:
    free = _seen(WINDOW)
    constrained = [
        replace(seen, pruned=True, fitness=-1.0) if seen.fitness > 3 else seen for seen in free
    ]
    experts = [
        [_experts(genome) for genome in _best(observations, by_promise=True)[:10]]
        for observations in (free, constrained)
    ]
    assert np.median(experts[0]) > 3
    assert np.median(experts[1]) <= 3


def test_a_constraint_is_kept_apart_from_fitness() -> None:
    ordered = _best(_seen(WINDOW, most_attention=2))
    attention = [sum(layer.kind == "attention" for layer in one.layers) for one in ordered]
    assert max(attention[:10]) <= 2
    assert _experts(ordered[0]) == max(
        _experts(one) for one, count in zip(ordered, attention, strict=True) if count <= 2
    )


@pytest.mark.parametrize("most_attention", [8, 2], ids=["all complete", "some pruned"])
def test_genomes_seen_in_turns_are_those_seen_at_once(most_attention: int) -> None:
    observations, children = _seen(100, most_attention=most_attention), _genomes(60, 2)
    turns, at_once = (_look(Surrogate(CODER), observations, seed=3) for _ in range(2))
    coded = _coded(children)
    parts = [turns.see(coded[:20]), turns.see([]), turns.see(coded[20:])]
    whole = at_once.see(coded)
    assert parts[0] == [index for index in whole if index < 20]
    assert [20 + index for index in parts[2]] == [index for index in whole if index >= 20]
    assert turns.choose() == at_once.choose()


def test_where_all_was_pruned_it_still_orders() -> None:
    assert len(_best(_seen(20, most_attention=-1), by_promise=True)) == 60


def test_what_it_knows_is_a_pure_function_of_the_last_observations() -> None:
    observations = _seen(WINDOW + 3 * STRIDE // 2, most_attention=4)
    children = _genomes(30, 3)
    steady = Surrogate(CODER)
    for end in (*range(WINDOW - 20, WINDOW + 25, 5), MOST_OBSERVATIONS - 3, MOST_OBSERVATIONS + 4):
        window = observations[max(0, end - MOST_OBSERVATIONS) : end]
        answers = [
            _chosen(one, children, window, noise=0.1, seed=end)
            for one in (steady, Surrogate(CODER))
        ]
        assert answers[0] == answers[1], end


def test_observations_that_are_taken_back_are_forgotten() -> None:
    observations, children = _seen(40), _genomes(30, 3)
    steady = Surrogate(CODER)
    for kept in (observations, observations[:25], [*observations[:24], *observations[30:36]]):
        answers = [
            _chosen(one, children, kept, noise=None, seed=0) for one in (steady, Surrogate(CODER))
        ]
        assert answers[0] == answers[1]


def test_noise_that_becomes_known_later_changes_what_it_knows_at_once() -> None:
    observations, children = _seen(30), _genomes(30, 3)
    steady = Surrogate(CODER)
    for noise in (None, 2.0, 0.01):
        answers = [
            _chosen(one, children, observations, noise=noise, seed=0)
            for one in (steady, Surrogate(CODER))
        ]
        assert answers[0] == answers[1], noise


@pytest.mark.parametrize("finished", [*range(1, 400), 1000, 1099, 1100, 99_999, 100_000])
def test_fits_are_due_at_ranks_that_have_finished_and_not_too_long_ago(finished: int) -> None:
    due = fit_due(finished)
    assert due <= max(finished, MIN_OBSERVATIONS)
    assert finished - due < max(4, min(finished // 9, STRIDE) + 1)
    assert fit_due(due) == due


@pytest.mark.parametrize("finished", [0, 1, WINDOW, WINDOW + 1, 1234, 100_000])
def test_the_window_is_bounded_and_moves_in_strides(finished: int) -> None:
    size = finished - window_start(finished)
    assert size <= WINDOW
    assert size >= min(finished, WINDOW - STRIDE + 1)
    assert window_start(fit_due(finished)) >= finished - MOST_OBSERVATIONS


def test_an_outlier_does_not_flatten_the_rest() -> None:
    seen = [Observation(n, n, genome, float(n)) for n, genome in enumerate(_genomes(10, 1))]
    diverged = [*seen, Observation(10, 10, seen[0].genome, -1e6)]
    spread = np.ptp(standardised(diverged)[:10])
    assert spread > 1.0


def test_equal_fitness_is_no_obstacle() -> None:
    seen = [Observation(n, n, genome, 2.0) for n, genome in enumerate(_genomes(10, 1))]
    assert standardised(seen).tolist() == [0.0] * 10
    assert len(_best(seen, by_promise=True)) == 60
