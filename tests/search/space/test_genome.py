"""Genomes: canonical form, digest, and what they refuse."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.errors import InvalidGenome
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.space.space import load_preset

EXAMPLE = {
    "schema_version": 1,
    "model_dim": 768,
    "layers": [
        {"kind": "attention", "heads": 12},
        {"kind": "feed_forward", "hidden_dim": 3072, "activation": "gelu"},
        {
            "kind": "moe",
            "hidden_dim": 2048,
            "activation": "gated_gelu",
            "gating": "expert_choice",
            "capacity_factor": 1,
        },
    ],
}
# Changes only with the schema version: SQL, exports and workers compare digests.
EXAMPLE_DIGEST = "5aadb0a5aeba24b34aaa52d62e25f2a9832c8f173f16953029b8ca68267a2f02"


def test_canonical_json_of_the_documented_example_is_the_example() -> None:
    assert parse_genome(EXAMPLE).canonical() == EXAMPLE


@given(st.integers(0, 2**32))
def test_json_round_trip_keeps_genome_and_digest(seed: int) -> None:
    genome = load_preset("nano").sample(rng=np.random.default_rng(seed))
    again = parse_genome(genome.canonical_json())
    assert again == genome
    assert again.digest == genome.digest


def test_digest_ignores_spelling_but_not_order() -> None:
    genome = parse_genome(EXAMPLE)
    spelt = json.loads(json.dumps(EXAMPLE))
    spelt["layers"][2]["capacity_factor"] = 1.0
    spelt["layers"][0]["norm"] = "rms_norm"
    assert parse_genome(spelt).digest == genome.digest
    turned = {**EXAMPLE, "layers": EXAMPLE["layers"][::-1]}  # type: ignore[index]
    assert parse_genome(turned).digest != genome.digest


def test_genomes_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_genome(EXAMPLE).model_dim = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"model_dim": 0}, "/model_dim"),
        ({"model_dim": "wide"}, "/model_dim"),
        ({"layers": []}, "/layers"),
        ({"schema_version": 2}, "/schema_version"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_an_invalid_genome_names_the_field(change: dict[str, object], pointer: str) -> None:
    with pytest.raises(InvalidGenome) as caught:
        parse_genome({**EXAMPLE, **change})
    assert caught.value.pointer == pointer


@pytest.mark.parametrize("data", [None, [], "not json", 3, b"\xff"])
def test_what_is_not_a_genome_is_refused(data: object) -> None:
    with pytest.raises(InvalidGenome):
        parse_genome(data)


def test_rank_over_width_is_refused_with_the_rule() -> None:
    layer = {"kind": "feed_forward", "hidden_dim": 64, "activation": "relu", "rank": 65}
    with pytest.raises(InvalidGenome, match=r"rank must be at most .* = 64 \(got 65\)") as refused:
        parse_genome({"model_dim": 128, "layers": [layer]})

    assert refused.value.pointer == "/layers/0/rank"


def test_expert_choice_needs_capacity() -> None:
    layer = {**EXAMPLE["layers"][2], "capacity_factor": 0}  # type: ignore[index]
    with pytest.raises(InvalidGenome, match="capacity_factor must be above 0") as refused:
        parse_genome({"model_dim": 128, "layers": [layer]})

    assert refused.value.pointer == "/layers/0/capacity_factor"


def test_genome_is_hashable_by_value() -> None:
    assert len({parse_genome(EXAMPLE), Genome.model_validate(EXAMPLE)}) == 1


def test_digest_never_changes_for_this_schema_version() -> None:
    assert parse_genome(EXAMPLE).digest == EXAMPLE_DIGEST


def test_a_changed_copy_has_a_text_and_a_digest_of_its_own() -> None:
    genome = parse_genome({"model_dim": 32, "layers": [{"kind": "attention", "heads": 2}]})
    kept = genome.canonical_json(), genome.digest
    wider = genome.model_copy(update={"model_dim": 64})
    other = genome.model_copy(update={"layers": genome.layers * 2})
    for copy in (wider, other):
        fresh = parse_genome(copy.canonical())
        assert (copy.canonical_json(), copy.digest) == (fresh.canonical_json(), fresh.digest)
        assert copy.digest != genome.digest
        assert copy == fresh
    again = parse_genome(genome.canonical())
    assert genome == again
    assert hash(genome) == hash(again)
    assert genome.model_dump() == again.model_dump()
    assert repr(genome) == repr(again)
    restored = pickle.loads(pickle.dumps(genome))
    assert (restored.canonical_json(), restored.digest) == kept
