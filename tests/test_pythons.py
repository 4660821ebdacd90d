"""The other Pythons that the package says it runs on, as far as this machine has them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.repository import REPOSITORY
from tests.worker.export.clean_environment import clean_environment, environments_folder

OTHERS = ("3.12", "3.13")
# What depends on the interpreter: typing and pydantic, numpy's generators, jax of another release
# (these Pythons get a later one), SQL drivers, subprocesses, Ray.
SUITES = (
    "tests/search/space",
    "tests/search/evolution",
    "tests/search/ask_tell",
    "tests/search/trials",
    "tests/model/test_causality.py",
    "tests/model/test_naive.py",
    "tests/worker/training/test_proxy_training.py",
    "tests/worker/tune/test_evolution_searcher.py",
    "tests/api/routes/test_leases.py",
)


def interpreter(version: str) -> Path | None:
    """Returns the machine's Python of that version."""
    folders = [Path(one) for one in os.environ["PATH"].split(os.pathsep)]
    folders += sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin"))
    for folder in folders:
        found = folder / f"python{version}"
        if not found.is_file():
            continue
        tried = subprocess.run([found, "-c", "import ensurepip, venv, ssl"], capture_output=True)
        if tried.returncode == 0:  # a version manager's stand-in fails here
            return found
    return None


def test_the_versions_are_those_that_the_package_states() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    stated = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', text)
    assert stated is not None
    known = [f"3.{minor}" for minor in range(int(stated[1]), int(stated[2]))]
    assert known == ["3.11", *OTHERS]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_suite_s_core_passes_on_every_other_python() -> None:
    found = {version: interpreter(version) for version in OTHERS}
    failed = {}
    for version, python in found.items():
        if python is None:
            continue
        lock = REPOSITORY / "requirements" / "dev.txt"
        mark = hashlib.sha256(lock.read_bytes()).hexdigest()[:8]
        place = environments_folder() / f"suite-py{version}-{mark}"
        locked = ("--require-hashes", "-r", str(lock))
        command = clean_environment(place, *locked, python=python)
        ran = subprocess.run(
            [command, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *SUITES],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=1100,
        )
        if ran.returncode:
            failed[version] = ran.stdout[-4000:] + ran.stderr[-1000:]
    assert failed == {}
