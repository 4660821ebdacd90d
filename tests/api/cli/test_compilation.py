"""`brainformer compile`, with a compiler that answers at once."""

import json
import sys

import pytest

from brainformer.api.cli.main import main
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.worker.targets import verdict
from brainformer.worker.targets.account import Account, Collective

GIB = 2**30


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; returns exit code, stdout, stderr and what was compiled."""
    asked = []

    def compiler(request):
        asked.append(request)
        needs = 20 if request.remat else 40
        if request.mesh.devices > 1:
            needs //= 4
        moved = {"all-reduce": Collective(3, 12.0)} if request.mesh.devices > 1 else {}
        return Account(memory_bytes=needs * GIB, hbm_bytes=1e9, collectives=moved)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["brainformer", "compile", *words])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return code or 0, said.out, " ".join(said.err.split()), asked

    monkeypatch.setitem(verdict.compile_and_judge.__kwdefaults__, "compiler", compiler)
    return command


def test_a_zoo_genome_is_compiled_on_the_rules_mesh(run):
    code, out, _, asked = run("glam", "--target", "tpu-v6e-8")

    assert code == 0
    assert asked[0].mesh.expert == 8
    assert "data 1 x expert 8 x model 1" in out
    assert "10.0 GiB of 32 GiB" in out
    assert "all-reduce x 3, 12.0 MB" in out
    assert "bound, not measured" in out
    assert "compiled, not run" in out


def test_what_does_not_fit_is_compiled_again_with_remat(run):
    code, out, err, asked = run("glam", "--target", "v6e-1", "--json")

    assert code == 0
    assert [one.remat for one in asked] == [False, True]
    assert json.loads(out)["memory_gib"] == 20
    assert "does not fit unless blocks are computed again" in err


def test_what_does_not_fit_at_all_ends_with_1(run):
    code, out, err, _ = run("glam", "--target", "v5e-1", "--json")

    assert code == 1
    assert json.loads(out)["fits"] is False
    assert "does not fit on tpu-v5e-1: choose more chips" in err


def test_a_file_with_a_genome_and_a_mesh_of_ones_own(run, tmp_path):
    genome = zoo_genome("switch", load_preset("nano"))
    path = tmp_path / "genome.json"
    path.write_text(json.dumps(genome.canonical()), "utf-8")

    code, _, _, asked = run(
        str(path), "--target", "v6e-8", "--preset", "nano", "--mesh", "data=2,expert=4"
    )

    assert code == 0
    assert asked[0].genome == genome
    assert (asked[0].mesh.data, asked[0].mesh.expert) == (2, 4)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["glam", "--target", "tpu-v6e-3"], 2, "choose one of these (got 3)"),
        (["glam", "--target", "abacus"], 2, "a target is tpu-GENERATION-CHIPS"),
        (["glam", "--target", "v6e-64"], 2, "too few rows for the data axis"),
        (["glam", "--target", "v6e-8", "--mesh", "data=3"], 2, "must divide batch_size (32)"),
        (["glam", "--target", "v6e-8", "--mesh", "data=4"], 2, "as many devices as the slot (8)"),
        (["glam", "--target", "v6e-8", "--mesh", "model=8"], 2, "the model axis (8) must divide"),
        (["glam", "--target", "v6e-8", "--mesh", "rows=8"], 2, "a mesh is written data=2"),
        (["glam", "--target", "v6e-8", "--mesh", "data=0"], 2, "a mesh is written data=2"),
        (["glam", "--target", "v6e-8", "--mesh", "data=2,data=4"], 2, "at most once"),
        (["glam", "--target", "v6e-8", "--preset", "mega"], 3, "mega"),
    ],
)
def test_bad_targets_and_meshes_are_refused_before_anything_is_compiled(words, code, said, run):
    ended, _, err, asked = run(*words)

    assert ended == code
    assert said in err
    assert "Traceback" not in err
    assert asked == []


def test_a_file_that_is_no_genome_is_refused(run, tmp_path):
    path = tmp_path / "genome.json"
    path.write_text('{"layers": 3}', "utf-8")

    code, _, err, _ = run(str(path), "--target", "v6e-8")

    assert code == 2
    assert "error:" in err
