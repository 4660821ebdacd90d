"""docs/ask-tell.md: its examples run, and say what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brainformer.search.ask_tell.in_memory import MemorySearch
from brainformer.search.ask_tell.in_sql import SqlSearch
from tests.repository import REPOSITORY

PAGE = REPOSITORY / "docs" / "ask-tell.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_first_example_finds_the_best_block(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLES[0], names)
    assert names["best"].fitness == -0.064
    assert len(names["search"].best(100)) == 60
    assert "attention" in capsys.readouterr().out


def test_the_first_example_is_about_twenty_lines() -> None:
    assert len([line for line in EXAMPLES[0].splitlines() if line.strip()]) <= 22


def test_neither_jax_nor_ray_nor_fastapi_is_needed() -> None:
    needless = "{'jax', 'ray', 'fastapi'}"
    code = f"import sys; sys.modules |= dict.fromkeys({needless})\n{EXAMPLES[0]}\n"
    code += f"assert not any(sys.modules[one] for one in {needless})"
    subprocess.run([sys.executable, "-c", code], cwd=PAGE.parents[1], check=True, timeout=60)


def test_the_second_example_keeps_its_search_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(EXAMPLES[0] + EXAMPLES[1], names)
    search: SqlSearch = names["search"]
    search.tell(search.ask(), 1.0)
    search.close()
    assert (tmp_path / "mine.db").exists()


def test_the_third_example_begins_with_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seeds.yaml").write_text("[sandwich]")
    names: dict[str, Any] = {}
    exec(EXAMPLES[0] + EXAMPLES[2], names)
    search = MemorySearch(names["spec"])
    asked = [search.ask() for _ in range(4)]
    assert [trial.origin for trial in asked] == ["seed", "seed", "seed", "random"]
    assert asked[1].genome == names["best"].genome
