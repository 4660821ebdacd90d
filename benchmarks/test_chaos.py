"""Real processes killed with SIGKILL, a short way; `make bench-chaos` kills two hundred times."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import SHORT, run

pytestmark = pytest.mark.timed


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_kill_loses_or_doubles_a_trial(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "postgres":
        database = request.getfixturevalue("postgres").create_with_schema()
    else:
        database = f"sqlite:///{tmp_path / 'search.db'}"
    verdict = run(database, tmp_path, list(SHORT))
    assert verdict["violations"] == []
    assert verdict["kills"] == len(SHORT)
    assert verdict["trials"]["completed"] > 0
