"""Genomes, spaces and the zoo from the command line, without a controller."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from brainformer.api.cli.blocks.drawing import BAR, drawn
from brainformer.api.cli.blocks.words import KINDS, fields_of
from brainformer.api.cli.main import app
from brainformer.api.cli.terminal.exit_codes import NOT_FOUND, USAGE, exit_code
from brainformer.search.cost import cost
from brainformer.search.errors import BrainformerError
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.genome import LAYER_KINDS, parse_genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome, zoo_names

NANO = load_preset("nano")
GLAM = zoo_genome("glam", NANO)
ODD = {
    "model_dim": 48,
    "layers": [
        {"kind": "attention", "heads": 3, "conv_width": 3, "norm_position": "post"},
        {"kind": "feed_forward", "hidden_dim": 64, "activation": "relu", "rank": 8},
        {
            "kind": "moe",
            "hidden_dim": 32,
            "activation": "gelu",
            "gating": "top_1",
            "capacity_factor": 0,
            "norm": "layer_norm",
        },
    ],
}


def run(*words: str, code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, list(words), input=stdin)
    found = result.exit_code
    if isinstance(result.exception, BrainformerError):
        found = exit_code(result.exception)
    assert found == code, (result.output, result.exception)
    return result


def refusal(*words: str, code: int) -> str:
    error = run(*words, code=code).exception
    assert isinstance(error, BrainformerError)
    return error.message


@pytest.fixture
def odd(tmp_path: Path) -> str:
    file = tmp_path / "odd.json"
    file.write_text(json.dumps(ODD))
    return str(file)


def test_a_zoo_name_a_file_and_an_export_are_genomes(odd: str, tmp_path: Path) -> None:
    shown = json.loads(run("genome", "show", "glam", "--json").stdout)
    assert shown == {"digest": GLAM.digest, "genome": GLAM.canonical()}
    (tmp_path / "trial.json").write_text(json.dumps({"number": 3, "genome": ODD}))
    for source in (odd, str(tmp_path / "trial.json")):
        shown = json.loads(run("genome", "show", source, "--json").stdout)
        assert parse_genome(shown["genome"]) == parse_genome(ODD)
    told = run("genome", "show", odd).stdout
    assert "3 heads, convolution 3, post-norm" in told
    assert "64, relu, rank 8" in told
    assert "32, gelu, top_1, dropless, layer_norm" in told


def test_what_is_no_genome_is_refused_with_its_place(tmp_path: Path) -> None:
    assert "known: brainformer_1" in refusal("genome", "show", "gram", code=NOT_FOUND)
    two = tmp_path / "two.jsonl"
    two.write_text(f'"glam"\n{json.dumps(ODD)}\n')
    assert "holds 2 genomes" in refusal("genome", "draw", str(two), code=USAGE)
    two.write_text('"glam"\n{"model_dim": 0, "layers": []}\n')
    assert "two.jsonl, line 2" in refusal("genome", "cost", str(two), code=USAGE)


def test_every_genome_of_a_file_is_checked_against_space_and_proxy(tmp_path: Path) -> None:
    file = tmp_path / "seeds.jsonl"
    file.write_text(f'"glam"\n{json.dumps(ODD)}\n{json.dumps(GLAM.canonical())}\n')
    assert "3 genomes" in run("genome", "validate", str(file)).stderr
    told = run("genome", "validate", str(file), "--space", "nano", "--json", code=USAGE)
    found = json.loads(told.stdout)
    assert [bool(one["error"]) for one in found] == [False, True, False]
    assert found[0]["digest"] == found[2]["digest"] == GLAM.digest
    assert "genome 2: it lies outside the space" in told.stderr
    wide = tmp_path / "wide.json"
    heads = {"kind": "attention", "heads": 1024}
    wide.write_text(json.dumps({"model_dim": 48, "layers": [heads]}))
    run("genome", "validate", str(wide), "--proxy", "nano")
    assert "no proxy" in refusal("genome", "validate", str(wide), "--proxy", "mega", code=NOT_FOUND)


@pytest.mark.parametrize("name", ["nano", "brainformer-100m32e"])
def test_costs_are_the_cost_models_in_the_space_that_is_named(name: str) -> None:
    genome, proxy = zoo_genome("glam", load_preset(name)), load_proxy(name)
    found = json.loads(run("genome", "cost", "glam", "--space", name, "--json").stdout)
    assert found["parameters"] == cost.parameters(genome, proxy)
    assert found["memory_bytes"] == cost.memory_bytes(genome, proxy)
    flops = sum(layer["forward_flops"] for layer in found["layers"])
    head = 2 * proxy.vocab_size * genome.model_dim
    assert found["flops_per_token"] == pytest.approx(3 * (proxy.blocks * flops + head))
    assert (
        f"{found['parameters']:,} parameters"
        in run("genome", "cost", "glam", "--space", name).stderr
    )


def test_a_difference_tells_every_change(odd: str) -> None:
    changes = json.loads(run("genome", "diff", "glam", odd, "--json").stdout)
    assert len(changes) == len(run("genome", "diff", "glam", odd).stdout.splitlines()) - 1
    assert {change["op"] for change in changes} >= {"remove"}
    assert "the same genome" in run("genome", "diff", "glam", "glam").stderr


def test_a_drawing_has_every_sub_layer_and_bars_by_cost() -> None:
    genome, proxy = parse_genome(ODD), load_proxy("nano").model_copy(update={"blocks": 3})
    lines = drawn(genome, proxy).splitlines()
    costs = [one.forward_flops for one in cost.layer_costs(genome, proxy)]
    branches = [line for line in lines if "▶" in line]
    assert [KINDS[layer.kind] in line for layer, line in zip(genome.layers, branches, strict=True)]
    for layer, line, flops in zip(genome.layers, branches, costs, strict=True):
        assert fields_of(layer) in line
        assert line.count("█") == max(1, round(BAR * flops / max(costs)))
    for blocks, words in ((1, "stacked once"), (3, "stacked 3 times")):
        assert words in drawn(genome, proxy.model_copy(update={"blocks": blocks}))


def test_where_only_ascii_can_be_written_only_ascii_is_drawn() -> None:
    assert drawn(GLAM, load_proxy("nano"), plain=True).isascii()
    told = CliRunner(charset="ascii").invoke(app, ["genome", "draw", "glam"])
    assert told.exit_code == 0, told.exception
    assert "+->" in told.stdout


def test_every_kind_of_sub_layer_has_words() -> None:
    assert set(KINDS) == set(LAYER_KINDS)


def test_spaces_are_shown_checked_and_counted(tmp_path: Path) -> None:
    assert run("space", "size", "nano").stdout == f"{NANO.size()}\n"
    assert json.loads(run("space", "show", "nano", "--json").stdout) == NANO.model_dump(mode="json")
    assert "moe.gating" in run("space", "show", "nano").stdout
    assert [one["name"] for one in json.loads(run("space", "list", "--json").stdout)] == [
        "brainformer-100m32e",
        "nano",
        "one-gpu",
    ]
    assert re.search(r"one-gpu .* 300 s +chosen, not tuned", run("space", "list").stdout)
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\nmodel_dim: [16, 32]\nmin_layers: 1\nmax_layers: 1\n"
        "layers: {attention: {heads: [1, 2]}}\n"
    )
    assert json.loads(run("space", "validate", str(mine), "--json").stdout)["genomes"] == 4
    mine.write_text(mine.read_text().replace("[1, 2]", "[1, 1]"))
    assert "layers.attention.heads" in refusal("space", "validate", str(mine), code=USAGE)
    assert "known: brainformer-100m32e, nano, one-gpu" in refusal(
        "space", "size", "mini", code=NOT_FOUND
    )


def test_the_zoo_is_listed_with_what_it_costs_and_shown() -> None:
    found = json.loads(run("zoo", "list", "--json").stdout)
    assert [one["name"] for one in found] == zoo_names()
    cost = json.loads(run("genome", "cost", found[0]["name"], "--json").stdout)
    assert found[0]["costs"] == cost
    assert all(name in run("zoo", "list").stdout for name in zoo_names())
    shown = json.loads(run("zoo", "show", "primer", "--json").stdout)
    assert parse_genome(shown["genome"]) == zoo_genome("primer", NANO)
    assert "known: " in refusal("zoo", "show", "gram", code=NOT_FOUND)
