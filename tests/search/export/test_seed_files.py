"""Seeds: from a file, from an earlier search, and into a new one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from brainformer.search.ask_tell.contract import ask_tell_spec
from brainformer.search.ask_tell.in_memory import MemorySearch
from brainformer.search.errors import InvalidGenome, NotFound
from brainformer.search.export.genome_file import GenomeExport
from brainformer.search.export.seed_files import best_seeds, seeds_from_file
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from tests.search.store.site import Site

NANO = load_preset("nano")
GENOMES = tuple(NANO.sample(rng=np.random.default_rng(seed)) for seed in range(3))
PLAIN = [genome.canonical() for genome in GENOMES]
SPEC = ask_tell_spec("nano")
BESIDE = {"number": 4, "digest": GENOMES[0].digest, "genome": PLAIN[0]}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("one.json", json.dumps(PLAIN[0], indent="\t"), GENOMES[:1]),
        ("list.json", json.dumps([*PLAIN, "glam"]), (*GENOMES, "glam")),
        ("lines.jsonl", "\n\n".join(map(json.dumps, PLAIN)) + "\n", GENOMES),
        ("names.yaml", "- glam\n- switch\n", ("glam", "switch")),
        ("LINES.NDJSON", "\n".join(map(json.dumps, PLAIN)), GENOMES),
        ("bom.jsonl", "\ufeff" + json.dumps(PLAIN[0]), GENOMES[:1]),
        ("bom.json", "\ufeff" + json.dumps(PLAIN[0]), GENOMES[:1]),
        (
            "separators.jsonl",
            json.dumps(BESIDE | {"message": "a\u2028b\x85c"}, ensure_ascii=False) + "\n",
            GENOMES[:1],
        ),
        ("trials.jsonl", json.dumps(BESIDE) + "\n", GENOMES[:1]),
        ("seeds", "glam", ("glam",)),
    ],
)
def test_a_file_holds_genomes_and_zoo_names(
    tmp_path: Path, name: str, text: str, expected: tuple[str | Genome, ...]
) -> None:
    (tmp_path / name).write_text(text)
    assert seeds_from_file(tmp_path / name, spec=SPEC) == expected
    assert seeds_from_file(str(tmp_path / name)) == expected


def test_an_exported_block_is_a_seed(tmp_path: Path) -> None:
    export = GenomeExport(
        digest=GENOMES[0].digest,
        genome=GENOMES[0],
        proxy=Proxy(),
        search_id="a",
        search_name="b",
        trial_number=3,
    )
    (tmp_path / "best.json").write_text(export.to_json())
    assert seeds_from_file(tmp_path / "best.json") == GENOMES[:1]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("bad.yaml", "- glam\n- [", r"bad.yaml: neither JSON nor YAML: .* \(line 2"),
        ("bell.yaml", "\a", "bell.yaml: neither JSON nor YAML"),
        ("deep.yaml", "[" * 5000, "deep.yaml: .* nested 64 deep"),
        ("long.json", "[" + "9" * 5000 + "]", "long.json: a number is too long"),
        ("long.yaml", "- " + "9" * 5000, "long.yaml: .* 5,000 digits"),
        ("date.yaml", "- 2026-11-31", "no zoo genome '2026-11-31'"),
        ("twice.json", '{"model_dim": 64, "model_dim": 32}', "'model_dim' appears twice"),
        ("twice.yaml", "model_dim: 64\nmodel_dim: 32", "'model_dim' appears twice"),
        ("deep.json", "[" * 100_000, "deep.json: nested too deep"),
        ("bad.json", '[\n"glam",,\n]', r"bad.json: not JSON: .* \(line 2, column 8\)"),
        ("bad.jsonl", '"glam"\n\n{', r"bad.jsonl, line 3: not JSON: .* \(column 2\)"),
        (
            "fields.json",
            json.dumps([PLAIN[0], {"model_dim": 0, "layers": []}]),
            r"fields.json, entry 2: .* \(got 0\) at /model_dim",
        ),
        ("kinds.jsonl", '"glam"\n{"model_dim": 64}', "kinds.jsonl, line 2: .* at /layers"),
        ("names.yaml", "[glam, gram]", "names.yaml, entry 2: no zoo genome 'gram'; known: .*glam"),
        ("null.json", "null", "null.json, entry 1: "),
        ("number.yaml", "3", "number.yaml, entry 1: "),
        ("empty.yaml", "[]", "empty.yaml holds no genome"),
        ("empty.jsonl", "\n", "empty.jsonl holds no genome"),
        (
            "digest.jsonl",
            json.dumps(BESIDE | {"digest": "0" * 64}),
            "digest.jsonl, line 1: the genome does not have the digest",
        ),
        (
            "far.json",
            json.dumps(PLAIN[0] | {"model_dim": 7}),
            "far.json, entry 1: the genome lies outside the space 'nano': model_dim 7 is not one",
        ),
    ],
)
def test_what_is_no_seed_is_refused_by_file_and_place(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidGenome, match=reason) as refused:
        seeds_from_file(tmp_path / name, spec=SPEC)
    assert str(tmp_path / name) in refused.value.message
    assert "\n" not in refused.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name, reason in (
        ("missing.yaml", "cannot read .*missing.yaml: No such file"),
        (".", "cannot read .*: Is a directory"),
        ("bytes.yaml", "bytes.yaml is not UTF-8 text"),
    ):
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
