"""Coded genomes: the same genomes, as numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.space.coded_genome import NOTHING, Alphabet
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space, load_preset
from brainformer.search.space.zoo import zoo_genome
from tests.search.spaces import any_space

DRAWS = 4000


@given(any_space(), st.integers(0, 2**16))
def test_a_genome_comes_back_from_its_code(space: Space, seed: int) -> None:
    alphabet, rng = Alphabet(space), np.random.default_rng(seed)
    genomes = [space.sample(rng=rng) for _ in range(5)]
    codes = [alphabet.code(genome) for genome in genomes]
    again = [alphabet.genome(code) for code in codes]
    assert again == genomes
    assert [one.digest for one in again] == [one.digest for one in genomes]
    for code, genome in zip(codes, genomes, strict=True):
        assert [alphabet.kind_of[token] for token in code.tokens] == [
            layer.kind for layer in genome.layers
        ]


@given(any_space(), st.integers(0, 2**16))
def test_codes_are_equal_where_genomes_are(space: Space, seed: int) -> None:
    alphabet, rng = Alphabet(space), np.random.default_rng(seed)
    genomes = [space.sample(rng=rng) for _ in range(8)]
    parsed = [Genome.model_validate_json(genome.canonical_json()) for genome in genomes]
    codes = [alphabet.code(genome) for genome in genomes]
    assert [alphabet.code(genome) for genome in parsed] == codes
    assert len(set(codes)) == len({genome.digest for genome in genomes})
    assert all(NOTHING not in code.tokens for code in codes)


@given(any_space(), st.integers(0, 2**16))
def test_what_it_samples_lies_in_the_space(space: Space, seed: int) -> None:
    alphabet = Alphabet(space)
    genome = alphabet.genome(alphabet.sample(rng=np.random.default_rng(seed)))
    assert space.contains(genome)
    assert Genome.model_validate_json(genome.canonical_json()) == genome


def test_it_samples_as_the_space_does() -> None:
    space = load_preset("nano")
    alphabet = Alphabet(space)
    ours, theirs = np.random.default_rng(1), np.random.default_rng(2)
    counted = []
    for draw in (
        lambda: alphabet.genome(alphabet.sample(rng=ours)),
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
    alphabet, genome = Alphabet(space), zoo_genome("primer", space)
    assert not space.contains(genome)
    assert alphabet.genome(alphabet.code(genome)) == genome
