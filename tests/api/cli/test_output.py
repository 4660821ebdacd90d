"""The command line's files and families of processes."""

from __future__ import annotations

import io
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from brainformer.api.cli.demo.processes import Family
from brainformer.api.cli.demo.progress import DemoProgress
from brainformer.api.cli.main import app
from brainformer.api.cli.searches.targets import parse_count
from brainformer.api.cli.terminal.event_lines import parse_events
from brainformer.api.cli.terminal.exit_codes import exit_code
from brainformer.api.cli.terminal.output import (
    print_line,
    print_raw,
    say,
    stdout,
    table,
    write_atomically,
)
from brainformer.api.cli.terminal.plain_text import visible
from brainformer.search.errors import (
    Conflict,
    EnvironmentProblem,
    InvalidInput,
    InvalidSpec,
    LeaseLost,
    NotFound,
    SpaceExhausted,
)
from brainformer.search.spec import SearchSpec


def test_a_file_is_written_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "block.json"
    write_atomically(path, "text\n")
    assert path.read_text() == "text\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["block.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"cannot write .*--output"):
        write_atomically(tmp_path / "file" / "block.json", "text")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidSpec("rule"), 2),
        (NotFound("search", "a"), 3),
        (Conflict("taken"), 5),
        (LeaseLost(1, 2, "expired"), 5),
        (SpaceExhausted(3, 4), 1),
    ],
)
def test_errors_have_the_documented_exit_codes(error: Exception, code: int) -> None:
    assert exit_code(error) == code  # type: ignore[arg-type]


def test_a_stopped_family_leaves_no_process_behind(tmp_path: Path) -> None:
    family = Family(tmp_path)
    child = family.start(
        "list", ["serve", "--port", "0", "--database", f"sqlite:///{tmp_path}/a.db"]
    )
    assert psutil.pid_exists(child.pid)
    family.stop()
    assert child.poll() is not None
    assert family.members() == []


@pytest.mark.parametrize(
    ("text", "count"), [("1B", 10**9), ("1.5m", 1_500_000), ("300K", 300_000), ("7", 7)]
)
def test_counts_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "B", "-1B", "1T", "0", "1e400", "nan"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="K, M or B"):
        parse_count(text)


HOSTILE = ["ann [/home/ann]", ":100: [red]x[/]", "a\x1b[31mb\x07", "\u202egnp.exe", "[link=x]y"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_is_neither_markup_nor_moves_the_cursor(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stdout().print(table(("name",), [(text,)], title=text))
    print_line(text)
    say(text)
    out, err = capsys.readouterr()
    shown = visible(text)
    assert out.splitlines()[2:] == [shown, shown]
    assert err == f"{shown}\n"
    assert all(character.isprintable() for character in shown)


def test_nothing_is_cut_off_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "because " * 40 + "f" * 64
    stdout().print(table(("reason", "n>"), [(long, "1")]))
    print_line(long)
    out = capsys.readouterr().out.splitlines()
    assert out[1].startswith(long)
    assert out[2] == long


def test_what_does_not_fit_a_terminal_goes_on_below(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    digest = "0123456789abcdef" * 4
    stdout().print(table(("hash", "n>"), [(digest, "1")]))
    joined = "".join(line.split(" ")[0] for line in terminal.getvalue().splitlines()[1:])
    assert joined == digest


def test_an_export_is_written_as_it_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    source = 'x = "' + "y" * 300 + '"  # [bold] :100: \u2028\n\ttab\n'
    print_raw(source)
    assert capfdbinary.readouterr().out == source.encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_split_at_line_ends_alone_however_they_arrive(size: int) -> None:
    sent = (
        ": a comment\r\nid: 7\r\nevent: trial.finished\r\n"
        'data: {"reason": "a\u2028b\u2029c\x85d"}\r\n\r\n'
        "id: 8\rdata: {\rdata: }\r\rdata: cut off"
    ).encode()
    chunks = [sent[at : at + size] for at in range(0, len(sent), size)]
    first, second = parse_events(chunks)
    assert first == {
        "id": "7",
        "event": "trial.finished",
        "data": {"reason": "a\u2028b\u2029c\x85d"},
    }
    assert second == {"id": "8", "data": {}}


@pytest.mark.parametrize("limits", [{"hours": 2.0}, {"trials": 4}, {"trials": 4, "hours": 0.01}])
def test_the_demo_shows_progress_under_any_limit(limits: dict[str, float]) -> None:
    spec = SearchSpec(name="a", space="nano", limits=limits).model_dump(mode="json")
    record = {"spec": spec, "counts": {}, "best_fitness": None}
    record["created_at"] = datetime.now(UTC).isoformat()
    trial = {"status": "completed", "number": 0, "kind": "candidate", "message": ""}
    trial["measurements"] = {"validation_loss": 2.0}
    with DemoProgress(record) as progress:
        progress.update(record, {"items": []})
        progress.update(record | {"counts": {"completed": 1}}, {"items": [trial]})


def test_the_version_is_told_with_those_of_what_runs_trials() -> None:
    told = CliRunner().invoke(app, ["--version"])
    assert told.exit_code == 0
    names = [line.split()[0] for line in told.stdout.splitlines()]
    assert names == ["brainformer", "python", "jax", "ray"]
