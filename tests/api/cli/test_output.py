"""The command line's files and families of processes."""

from __future__ import annotations

import stat
from pathlib import Path

import psutil
import pytest

from brainformer.api.cli.commands.export import parse_count
from brainformer.api.cli.demo.processes import Family
from brainformer.api.cli.terminal.exit_codes import exit_code
from brainformer.api.cli.terminal.output import write_atomically
from brainformer.search.errors import (
    Conflict,
    EnvironmentProblem,
    InvalidInput,
    InvalidSpec,
    LeaseLost,
    NotFound,
    SpaceExhausted,
)


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
