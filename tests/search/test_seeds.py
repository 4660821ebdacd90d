"""Seeds: from a file, from an earlier search, and into a new one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from search.ask_tell import ask_tell_spec
from search.errors import InvalidGenome, NotFound
from search.genome import Genome
from search.memory_search import MemorySearch
from search.seeds import best_seeds, seeds_from_file
from search.space import load_preset
from search.zoo import zoo_genome
from tests.search.store_site import Site

NANO = load_preset("nano")
GENOMES = tuple(NANO.sample(rng=np.random.default_rng(seed)) for seed in range(3))
PLAIN = [genome.canonical() for genome in GENOMES]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("one.json", json.dumps(PLAIN[0]), GENOMES[:1]),
        ("list.json", json.dumps([*PLAIN, "glam"]), (*GENOMES, "glam")),
        ("lines.jsonl", "\n".join(map(json.dumps, PLAIN)) + "\n", GENOMES),
        ("names.yaml", "- glam\n- switch\n", ("glam", "switch")),
    ],
)
def test_a_file_holds_genomes_and_zoo_names(
    tmp_path: Path, name: str, text: str, expected: tuple[str | Genome, ...]
) -> None:
    (tmp_path / name).write_text(text)
    assert seeds_from_file(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("bad.yaml", "[", "neither JSON nor YAML"),
        ("bad.jsonl", "{", "neither JSON nor YAML"),
        ("bad.json", json.dumps([PLAIN[0], {"model_dim": 0, "layers": []}]), "/1/model_dim"),
        ("empty.json", "null", "/0"),
    ],
)
def test_what_is_no_genome_is_refused_by_its_place(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidGenome, match=reason):
        seeds_from_file(tmp_path / name)


def test_the_best_of_an_earlier_search_begin_a_new_one(site: Site) -> None:
    search_id = site.started()
    leases = site.run(6, lambda number: 2.0 + 0.1 * (number % 3))
    best = best_seeds(site.store, search_id, 2)
    fittest = {lease.genome for lease in leases if lease.trial_number % 3 == 0}
    assert set(best) == fittest
    search = MemorySearch(ask_tell_spec("nano", seeds=(*best, "glam")))
    asked = [search.ask() for _ in range(3)]
    assert [one.genome for one in asked] == [*best, zoo_genome("glam", NANO)]
    assert {one.origin for one in asked} == {"seed"}


def test_an_unknown_earlier_search_is_not_found(site: Site) -> None:
    with pytest.raises(NotFound):
        best_seeds(site.store, "nothing", 2)
