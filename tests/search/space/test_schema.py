"""The JSON schema of a space says exactly what the space says."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.space.schema import genome_schema
from brainformer.search.space.space import Space, load_preset
from tests.search.spaces import any_space, sequences


@given(any_space(), st.integers(0, 2**32))
def test_genomes_of_the_space_satisfy_its_schema(space: Space, seed: int) -> None:
    genome = space.sample(rng=np.random.default_rng(seed))
    jsonschema.validate(genome.canonical(), genome_schema(space))


@given(any_space(), st.integers(0, 2**32))
def test_genomes_of_another_space_satisfy_it_only_if_they_are_in_this_one(
    space: Space, seed: int
) -> None:
    wide = sequences(3, min_layers=1, max_layers=8, model_dim=[16, 32, 64])
    genome = wide.sample(rng=np.random.default_rng(seed))
    checker = jsonschema.Draft202012Validator(genome_schema(space))
    assert checker.is_valid(genome.canonical()) == space.contains(genome)


def test_a_schema_is_itself_valid_and_plain_json() -> None:
    schema = genome_schema(load_preset("nano"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
