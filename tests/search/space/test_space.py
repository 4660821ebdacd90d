"""Spaces: what they hold, how many, and definitions that contradict themselves."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.errors import InvalidSpace
from brainformer.search.space.genome import LAYER_KINDS, Genome
from brainformer.search.space.space import (
    OPERATOR_NAMES,
    Space,
    load_preset,
    parse_space,
    preset_names,
)
from tests.search.spaces import ONE_OF_EACH, any_space, sequences

PLAIN: dict[str, Any] = {
    "name": "plain",
    "model_dim": [32],
    "min_layers": 1,
    "max_layers": 2,
    "layers": ONE_OF_EACH,
}
MOE = ONE_OF_EACH["moe"]
DENSE = ONE_OF_EACH["feed_forward"]


@given(any_space(), st.integers(0, 2**32))
def test_a_space_contains_what_it_samples(space: Space, seed: int) -> None:
    assert space.contains(space.sample(rng=np.random.default_rng(seed)))


@given(any_space())
def test_size_counts_the_distinct_genomes(space: Space) -> None:
    if space.size() > 500:
        return
    genomes = list(space.enumerate())
    assert len(genomes) == space.size() == len({genome.digest for genome in genomes})
    assert all(space.contains(genome) for genome in genomes)


def test_the_papers_space_has_the_size_of_table_1() -> None:
    per_layer = 3 + 4 * 4 + 4 * 4 * 2 * 4
    blocks = sum(per_layer**length for length in range(2, 9))
    assert load_preset("brainformer-100m32e").size() == 3 * blocks


def test_a_space_of_kinds_alone_is_the_space_of_sequences() -> None:
    assert sequences(8).size() == 3**8


def test_every_genome_of_a_small_space_is_sampled_alike() -> None:
    space, rng = sequences(2), np.random.default_rng(0)
    drawn = [space.sample(rng=rng).digest for _ in range(9000)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 9
    # Five standard deviations of a binomial count.
    assert np.abs(counts - 1000).max() < 5 * (9000 * (1 / 9) * (8 / 9)) ** 0.5


def test_a_field_without_choices_keeps_its_default() -> None:
    space = sequences(1)
    genome = space.sample(rng=np.random.default_rng(0))
    other = genome.layers[0].model_copy(update={"norm": "layer_norm"})
    assert not space.contains(Genome(model_dim=32, layers=(other,)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_dim": 48}, "model_dim 48 is not one of [32]"),
        ({"layers": []}, "0 sub-layers; this space has 2 to 2"),
        (
            {"layers": [{"kind": "attention", "heads": 2}] * 3},
            "3 sub-layers; this space has 2 to 2",
        ),
        (
            {"layers": [{"kind": "attention", "heads": 2}, {"kind": "attention", "heads": 4}]},
            "layers.1: attention.heads 4 is not one of [2]",
        ),
        (
            {"layers": [{"kind": "moe", **{k: v[0] for k, v in MOE.items()}}] * 2},
            "layers.0: kind moe is not one of ['attention', 'feed_forward']",
        ),
    ],
)
def test_a_genome_outside_is_not_contained_and_told_why(
    change: dict[str, Any], reason: str
) -> None:
    kinds = {kind: ONE_OF_EACH[kind] for kind in ("attention", "feed_forward")}
    space = sequences(2, layers=kinds)
    plain = space.sample(rng=np.random.default_rng(0)).canonical() | change
    layers = tuple(LAYER_KINDS[one["kind"]].model_validate(one) for one in plain["layers"])
    genome = Genome.model_construct(model_dim=plain["model_dim"], layers=layers)
    assert not space.contains(genome)
    assert space.objection(genome) == reason


@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_json(name: str) -> None:
    space = load_preset(name)
    assert parse_space(space.model_dump_json()) == space


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"min_layers": 3}, "min_layers must be at most max_layers, got 3 > 2"),
        ({"min_layers": 0}, "/min_layers"),
        ({"model_dim": []}, "/model_dim"),
        ({"model_dim": [0]}, "/model_dim/0"),
        ({"model_dim": [32, 32]}, "model_dim: duplicate choice in"),
        ({"layers": {}}, "/layers"),
        ({"layers": {"lstm": {}}}, "unknown kind"),
        ({"layers": {"attention": {}}}, "choices missing for \\['heads'\\]"),
        ({"layers": {"attention": {"heads": []}}}, "/layers/attention/heads"),
        ({"layers": {"attention": {"heads": [2, 2]}}}, "duplicate choice in"),
        ({"layers": {"attention": {"heads": [0]}}}, "must be at least 1, got 0"),
        ({"layers": {"attention": {"heads": ["2"]}}}, "write 2, not '2'"),
        ({"layers": {"attention": {"heads": [2], "width": [1]}}}, "unknown fields \\['width'\\]"),
        ({"layers": {"moe": MOE | {"capacity_factor": [0, 1]}}}, "above 0 if gating"),
        ({"layers": {"feed_forward": DENSE | {"rank": [0, 33]}}}, "at most the smallest .* = 32"),
        ({"mutation_weights": {"jump": 1}}, "unknown \\['jump'\\]"),
        ({"mutation_weights": {"swap": -1}}, "/mutation_weights/swap"),
        ({"mutation_weights": dict.fromkeys(OPERATOR_NAMES, 0)}, "at least one must be above 0"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_a_contradictory_space_is_refused_with_the_reason(
    change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSpace, match=reason):
        parse_space(PLAIN | change)


@pytest.mark.parametrize("text", ["name: [", "3", "", "- a"])
def test_what_is_not_a_space_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpace):
        parse_space(text)


PRESETS = {
    "brainformer-100m32e": "9ef089abf4c1df49",
    "nano": "d84a53b2c7960621",
    "one-gpu": "67e1e5277f87135f",
}


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_that_changes_needs_a_migration_of_the_searches_that_name_it(name: str) -> None:
    # A stored search names its preset: migrations/versions/v0003 shows how one keeps its course.
    written = load_preset(name).model_dump_json()
    assert hashlib.sha256(written.encode()).hexdigest()[:16] == PRESETS[name]
