"""Mutations: each changes the genome, stays in the space, and none starves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainformer.search.evolution.mutation import (
    OPERATORS,
    mutate,
)
from brainformer.search.space.coded_genome import GenomeCoder
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import (
    OPERATOR_NAMES,
    Space,
    load_preset,
    parse_space,
)
from tests.search.evolution.oracles import neighbours, operator_probabilities
from tests.search.spaces import any_space, sequences

DRAWS = 6000
FEWER_DRAWS = 1500  # for each of many spaces


def _some(space: Space, seed: int = 0) -> Genome:
    return space.sample(rng=np.random.default_rng(seed))


@given(any_space(), st.integers(0, 2**32))
def test_a_mutation_always_changes_the_genome_and_stays_in_the_space(
    space: Space, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    genome = space.sample(rng=rng)
    for _ in range(10):
        mutation = mutate(genome, space, rng=rng)
        if mutation is None:
            assert space.size() == 1
            return
        assert mutation.genome.digest != genome.digest
        assert space.contains(mutation.genome)
        assert mutation.description
        genome = mutation.genome


@given(any_space(), st.integers(0, 2**32))
def test_a_mutated_genome_is_one_that_validates(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mutation = mutate(space.sample(rng=rng), space, rng=rng)
    if mutation is not None:
        assert Genome.model_validate_json(mutation.genome.canonical_json()) == mutation.genome


@given(any_space(), st.integers(0, 2**16))
def test_every_operator_that_can_act_has_a_chance(space: Space, seed: int) -> None:
    genome = _some(space, seed)
    expected = operator_probabilities(genome, space)
    for name, chance in expected.items():
        assert chance > 0, name
    assert sum(expected.values()) == pytest.approx(1.0 if expected else 0.0)
    coder = GenomeCoder(space)
    coded = coder.encode(genome)
    assert set(expected) == {name for name, act in OPERATORS.items() if act(coded, coder)[0]}


@settings(max_examples=15, deadline=None)
@given(any_space(), st.integers(0, 2**16))
def test_operators_fields_and_choices_are_drawn_as_often_as_they_should(
    space: Space, seed: int
) -> None:
    genome, rng = _some(space, seed), np.random.default_rng(seed)
    expected = operator_probabilities(genome, space)
    if not expected:
        return
    told = [_mutated(genome, space, rng) for _ in range(FEWER_DRAWS)]
    _expect(Counter(map(_operator, told)), expected, FEWER_DRAWS)
    changed = [text for text in told if _operator(text) == "change_field"]
    places = {
        f"{layer.kind} {place}: {name}": [c for c in choices if c != getattr(layer, name)]
        for place, layer in enumerate(genome.layers)
        for name, choices in space.layers[layer.kind].items()
        if len(choices) > 1
    }
    _expect(
        Counter(text.rsplit(maxsplit=3)[0] for text in changed),
        dict.fromkeys(places, 1 / max(1, len(places))),
        len(changed),
    )
    choices = {
        f"{place} {other}": 1 / len(places) / len(c) for place, c in places.items() for other in c
    }
    found = Counter(f"{text.rsplit(maxsplit=3)[0]} {text.split()[-1]}" for text in changed)
    _expect(found, choices, len(changed))


def _expect(counts: Counter[str], chances: dict[str, float], draws: int) -> None:
    """Checks that what was drawn is what can be, each within six standard deviations."""
    assert set(counts) <= set(chances)
    for name, chance in chances.items():
        spread = (draws * chance * (1 - chance)) ** 0.5
        assert abs(counts[name] - draws * chance) <= 6 * spread + 3, name


def test_no_operator_and_no_field_starves() -> None:
    space = load_preset("nano")
    genome = _genome_with_every_kind(space)
    rng = np.random.default_rng(1)
    told = [_mutated(genome, space, rng) for _ in range(DRAWS)]
    counts = Counter(_operator(text) for text in told)
    for name, chance in operator_probabilities(genome, space).items():
        # Six standard deviations of a binomial count.
        assert abs(counts[name] - DRAWS * chance) < 6 * (DRAWS * chance * (1 - chance)) ** 0.5
    fields = Counter(
        text.split(":")[0] + text.split(": ")[1].split()[0]
        for text in told
        if _operator(text) == "change_field"
    )
    total, kinds = sum(fields.values()), len(fields)
    assert kinds == sum(len(space.layers[layer.kind]) for layer in genome.layers)
    for name, count in fields.items():
        assert abs(count - total / kinds) < 6 * (total / kinds) ** 0.5, name


def test_every_neighbour_is_reached_by_mutation_and_every_mutation_is_a_neighbour() -> None:
    space = sequences(3, min_layers=2, max_layers=4, model_dim=[16, 32])
    genome, rng = _some(space), np.random.default_rng(2)
    found = {genome.digest for genome in neighbours(genome, space)}
    reached = set()
    for _ in range(DRAWS):
        mutation = mutate(genome, space, rng=rng)
        assert mutation is not None
        reached.add(mutation.genome.digest)
    assert reached == found


@given(any_space(), st.integers(0, 2**32))
def test_neighbours_are_distinct_others_of_the_space(space: Space, seed: int) -> None:
    genome = _some(space, seed)
    found = neighbours(genome, space)
    digests = {other.digest for other in found}
    assert genome.digest not in digests
    assert len(digests) == len(found)
    assert all(space.contains(other) for other in found)


def test_a_fixed_length_is_kept() -> None:
    space = sequences(5)
    genome, rng = _some(space), np.random.default_rng(0)
    assert not {"insert", "delete"} & set(operator_probabilities(genome, space))
    for _ in range(200):
        mutation = mutate(genome, space, rng=rng)
        assert mutation is not None
        genome = mutation.genome
        assert len(genome.layers) == 5


def test_weights_of_the_space_decide_which_operators_act() -> None:
    only = {name: float(name == "swap") for name in OPERATOR_NAMES}
    space = sequences(4, mutation_weights=only)
    genome = _some(space, 3)
    assert operator_probabilities(genome, space) == {"swap": 1.0}
    mutation = mutate(genome, space, rng=np.random.default_rng(0))
    assert mutation is not None
    assert Counter(mutation.genome.layers) == Counter(genome.layers)


def test_where_no_operator_can_act_there_is_no_mutation() -> None:
    lonely: dict[str, Any] = {
        "name": "lonely",
        "model_dim": [32],
        "min_layers": 2,
        "max_layers": 2,
        "layers": {"attention": {"heads": [2]}},
    }
    space = parse_space(lonely)
    assert space.size() == 1
    assert mutate(_some(space), space, rng=np.random.default_rng(0)) is None


def _genome_with_every_kind(space: Space) -> Genome:
    for seed in range(1000):
        genome = _some(space, seed)
        kinds = {layer.kind for layer in genome.layers}
        if len(kinds) == 3 and space.min_layers < len(genome.layers) < space.max_layers:
            return genome
    raise AssertionError("no such genome")


def _mutated(genome: Genome, space: Space, rng: np.random.Generator) -> str:
    mutation = mutate(genome, space, rng=rng)
    assert mutation is not None
    return mutation.description


def _operator(text: str) -> str:
    for start, name in (
        ("sub-layer", "change_kind"),
        ("insert", "insert"),
        ("delete", "delete"),
        ("swap", "swap"),
        ("model dim", "change_model_dim"),
    ):
        if text.startswith(start):
            return name
    return "change_field"
