"""Bad input at the command line: one sentence, the documented exit code, nothing half-written."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from brainformer.api.cli.terminal.exit_codes import ERROR, NOT_FOUND, USAGE
from brainformer.search.sql.store import open_store

SPEC = "name: a\nspace: nano\nlimits: {trials: 1}\n"
WITHOUT_RAY = (
    "import sys; sys.modules['ray'] = None; from brainformer.api.cli.main import main; main()"
)


def run(*arguments: str, folder: Path, code: str | None = None) -> tuple[int, str]:
    """Returns the exit code and what stood on stderr."""
    start = ["-c", code] if code else ["-m", "brainformer.api.cli.main"]
    done = subprocess.run(
        [sys.executable, "-P", *start, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.strip()


def refused(told: tuple[int, str], code: int, *words: str) -> None:
    """Checks for one sentence that holds `words`, and the exit code."""
    found, text = told
    assert found == code, text
    assert "Traceback" not in text
    assert len(text.splitlines()) == 1, text
    assert text.startswith("error: ")
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SPEC + "sede: 3\n", ["/sede"]),
        (SPEC + "seeds: [{model_dim: 64, layers: []}]\n", ["/seeds/0"]),
        ("name: a\nlimits: {trials: 1}\nspace: {name: s}\n", ["/space", "model_dim"]),
        (SPEC + "proxy: {dataset: /etc/passwd}\n", ["/proxy/dataset"]),
        ("{", ["not YAML"]),
    ],
)
def test_an_invalid_spec_never_reaches_the_controller(
    spec: str, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(spec)
    told = run("search", "create", "-f", "spec.yaml", "--url", "http://x.invalid", folder=tmp_path)
    refused(told, USAGE, *words)


def test_bad_seeds_never_reach_the_controller(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "seeds.jsonl").write_text('"glam"\n{"model_dim": 0, "layers": []}\n')
    create = ("search", "create", "-f", "spec.yaml", "--url", "http://x.invalid")
    told = run(*create, "--seed-file", "seeds.jsonl", folder=tmp_path)
    refused(told, USAGE, "seeds.jsonl, line 2", "at /model_dim")


def test_a_spec_may_come_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("trials: 1", "trials: 0"))
    code = (
        "import sys; sys.stdin = open('spec.yaml'); "
        "from brainformer.api.cli.main import main; main()"
    )
    create = ("search", "create", "-f", "-", "--url", "http://x.invalid")
    refused(run(*create, folder=tmp_path, code=code), USAGE, "/limits/trials (line 3) must be")


def test_options_are_explained_in_words(tmp_path: Path) -> None:
    for words, sentence in (
        (("trial", "list", "a", "--limit", "0"), "must be at least 1"),
        (("trial", "show", "a", "b"), "must be a whole number"),
        (("export", "a", "--format", "b"), ": 'b' is not one of 'genome'"),
    ):
        code, told = run(*words, folder=tmp_path)
        assert code == USAGE
        assert sentence in told.splitlines()[-1]


def test_a_port_in_use_is_named_before_a_database_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        told = run("serve", "--port", port, "--database", "sqlite:///new.db", folder=tmp_path)
    refused(told, ERROR, f"port {port}", "in use", "--port")
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "search.db"
    open_store(f"sqlite:///{file}").close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = file.read_bytes()
    told = run("serve", "--port", "0", "--database", f"sqlite:///{file}", folder=tmp_path)
    refused(told, ERROR, "9999", "newer")
    assert file.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(run("demo", "--folder", "file/demo", folder=tmp_path), ERROR, "file/demo", "--folder")


def test_without_ray_the_demo_says_what_to_install(tmp_path: Path) -> None:
    told = run("demo", folder=tmp_path, code=WITHOUT_RAY)
    refused(told, ERROR, "ray is not installed", "brainformer-search[cpu]")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_data_set_lists_what_is_there(tmp_path: Path) -> None:
    told = run("data", "show", "poems", "--folder", str(tmp_path), folder=tmp_path)
    refused(told, NOT_FOUND, "poems")


def test_an_address_where_nothing_listens_says_how_to_start(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        told = run("search", "list", "--url", url, folder=tmp_path)
    refused(told, ERROR, "brainformer serve")
