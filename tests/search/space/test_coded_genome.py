"""Coded genomes: the same genomes, as numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.space.coded_genome import NOTHING, GenomeCoder
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space, load_preset
from brainformer.search.space.zoo import zoo_genome
from tests.search.spaces import any_space

DRAWS = 4000


@given(any_space(), st.integers(0, 2**16))
def test_a_genome_comes_back_from_its_code(space: Space, seed: int) -> None:
    coder, rng = GenomeCoder(space), np.random.default_rng(seed)
    genomes = [space.sample(rng=rng) for _ in range(5)]
    coded = [coder.encode(genome) for genome in genomes]
    again = [coder.decode(one) for one in coded]
    assert again == genomes
    assert [one.digest for one in again] == [one.digest for one in genomes]
    for one, genome in zip(coded, genomes, strict=True):
        assert [coder.kind_of[code] for code in one.codes] == [
            layer.kind for layer in genome.layers
        ]


@given(any_space(), st.integers(0, 2**16))
def test_codes_are_equal_where_genomes_are(space: Space, seed: int) -> None:
    coder, rng = GenomeCoder(space), np.random.default_rng(seed)
    genomes = [space.sample(rng=rng) for _ in range(8)]
    parsed = [Genome.model_validate_json(genome.canonical_json()) for genome in genomes]
    coded = [coder.encode(genome) for genome in genomes]
    assert [coder.encode(genome) for genome in parsed] == coded
    assert len(set(coded)) == len({genome.digest for genome in genomes})
    assert all(NOTHING not in one.codes for one in coded)


@given(any_space(), st.integers(0, 2**16))
def test_what_it_samples_lies_in_the_space(space: Space, seed: int) -> None:
    coder = GenomeCoder(space)
    genome = coder.decode(coder.sample(rng=np.random.default_rng(seed)))
    assert space.contains(genome)
    assert Genome.model_validate_json(genome.canonical_json()) == genome


def test_it_samples_as_the_space_does() -> None:
    space = load_preset("nano")
    coder = GenomeCoder(space)
    ours, theirs = np.random.default_rng(1), np.random.default_rng(2)
    counted = []
    for draw in (
        lambda: coder.decode(coder.sample(rng=ours)),
        lambda: space.sample(rng=theirs),
    ):
        genomes = [draw() for _ in range(DRAWS)]
        found = Counter(f"{len(genome.layers)} sub-layers" for genome in genomes)
        found.update(f"dim {genome.model_dim}" for genome in genomes)
        found.update(layer.model_dump_json() for genome in genomes for layer in genome.layers[:1])
        counted.append(found)
    assert counted[0].keys() == counted[1].keys()
    for name, count in counted[0].items():
        spread = (2 * max(count, counted[1][name])) ** 0.5
        assert abs(count - counted[1][name]) < 6 * spread, name


def test_a_genome_outside_the_space_has_a_code_too() -> None:
    space = load_preset("nano")
    coder, genome = GenomeCoder(space), zoo_genome("primer", space)
    assert not space.contains(genome)
    assert coder.decode(coder.encode(genome)) == genome
