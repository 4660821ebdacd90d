"""One rule says which genomes may run, whoever asks."""

from __future__ import annotations

from typing import Any

import pytest

from brainformer.search.ask_tell.contract import ask_tell_spec
from brainformer.search.cost.runnable import runnable_genome
from brainformer.search.errors import InvalidGenome, InvalidSpec
from brainformer.search.evolution.proposer import Proposer
from brainformer.search.export.seed_files import check_seed
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.search.spec import SearchSpec, resolve_spec
from tests.search.store.site import spec

NANO = load_preset("nano")
FAR = Genome.model_validate({"model_dim": 7, "layers": [{"kind": "attention", "heads": 1}]})
# Inside the space, but every expert of it would go without a token.
STARVED = zoo_genome("glam", NANO)
TINY = {"experts": 64, "head_dim": 16, "sequence_length": 4, "batch_size": 4}


def test_a_zoo_name_becomes_its_genome_in_the_space() -> None:
    assert runnable_genome("glam", NANO, Proxy()) == zoo_genome("glam", NANO)


def test_a_genome_that_fits_is_returned_as_it_is() -> None:
    genome = zoo_genome("switch", NANO)
    assert runnable_genome(genome, NANO, Proxy()) is genome


@pytest.mark.parametrize(
    ("named", "proxy", "reason"),
    [
        ("gram", {}, "no zoo genome gram; known: .*glam"),
        (FAR, {}, "outside the space 'nano': model_dim 7"),
        (STARVED, TINY, "experts must be at most the tokens of a step"),
    ],
)
def test_every_door_refuses_with_the_same_words(
    named: str | Genome, proxy: dict[str, Any], reason: str
) -> None:
    wanted = SearchSpec.model_validate({**spec().model_dump(), "proxy": proxy or spec().proxy})
    with pytest.raises(InvalidGenome, match=reason):
        runnable_genome(named, NANO, wanted.proxy)
    with pytest.raises(InvalidGenome, match=f"my file: .*{reason}"):
        check_seed(named, wanted, "my file")
    seeded = wanted.model_copy(update={"seeds": (named,), "baseline": "dense_transformer"})
    with pytest.raises(InvalidSpec, match=reason) as caught:
        resolve_spec(seeded)
    assert caught.value.pointer.startswith("/seeds/0")


def test_who_evaluates_genomes_is_not_bound_to_a_proxy() -> None:
    Proposer(ask_tell_spec("nano", seeds=(STARVED,), proxy=TINY))
    with pytest.raises(InvalidSpec, match="outside the space") as caught:
        Proposer(ask_tell_spec("nano", seeds=("glam", FAR)))
    assert caught.value.pointer == "/seeds/1"


def test_the_field_of_a_written_genome_is_named() -> None:
    seeded = spec(seeds=[STARVED.model_dump()], baseline="dense_transformer", proxy=TINY)
    with pytest.raises(InvalidSpec) as caught:
        resolve_spec(seeded)
    assert caught.value.pointer == "/seeds/0/layers/3/experts"
    assert caught.value.value == 64
