"""One import name: what is installed, and what stands beside it in a user's folder."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile

import pytest

from tests.repository import REPOSITORY
from tests.wheel import FOLDERS, build_wheel

# What docs/public-surface.md promises to keep.
PUBLIC = {
    "brainformer.ask_tell": {
        "AskTell",
        "AskedTrial",
        "Compromise",
        "MemorySearch",
        "SqlSearch",
        "Standing",
        "ask_tell_spec",
        "open_sql_search",
        "seeds_from_file",
    },
    "brainformer.client": {
        "BestRecord",
        "Client",
        "GenomeExport",
        "PoolRecord",
        "Search",
        "SearchRecord",
        "TrialRecord",
        "WorkerRecord",
    },
    "brainformer.space": {
        "Attention",
        "FeedForward",
        "Genome",
        "MoE",
        "Space",
        "genome_schema",
        "load_preset",
        "parse_genome",
        "parse_space",
        "preset_names",
        "zoo_genome",
        "zoo_names",
    },
}
EXAMPLE = """
from brainformer.ask_tell import MemorySearch, ask_tell_spec
search = MemorySearch(ask_tell_spec("nano", seed=1))
for _ in range(20):
    trial = search.ask()
    search.tell(trial, fitness=float(len(trial.genome.layers)))
print(search.best()[0].fitness)
"""


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_those_that_are_promised(module):
    found = importlib.import_module(module)
    assert set(found.__all__) == PUBLIC[module]
    assert all(hasattr(found, name) for name in found.__all__)


def test_a_users_own_modules_of_our_folders_names_neither_shadow_nor_are_shadowed(tmp_path):
    for name in ("search", "worker", "api"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the user's own {name}')")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").write_text("MINE = 'mine'\n")
    script = tmp_path / "script.py"
    script.write_text(f"{EXAMPLE}\nimport model\nprint(model.MINE)\n")
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.splitlines()[-1] == "mine"


@pytest.mark.slow
def test_the_wheel_holds_one_package_and_every_file_of_it(tmp_path):
    names = set(zipfile.ZipFile(build_wheel(tmp_path)).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"brainformer"}
    assert {name for name in names if name.startswith("brainformer/")} == _sources()


def _sources() -> set[str]:
    """Returns the files that the wheel must hold."""
    found: set[str] = set()
    for folder in FOLDERS:
        prefix = "" if folder == "brainformer" else "brainformer/"
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found.add(prefix + path.relative_to(REPOSITORY).as_posix())
    return found
