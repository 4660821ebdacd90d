"""Environments without this project: PyTorch, one version of transformers, and little else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.repository import REPOSITORY

VERSIONS = ("5.20.0", "5.24.0")
SCRIPT = REPOSITORY / "tests" / "worker" / "export" / "load_with_transformers.py"
PACKAGES = ("torch==2.13.0", "sentencepiece", "numpy")


def clean_environment(folder: Path, *packages: str, python: Path | None = None) -> Path:
    """Returns the Python of an environment with these packages; one that is there is taken.

    Args:
        folder: Of the environment.
        packages: As pip takes them.
        python: What to make it with; by default the Python that runs.
    """
    made_with = Path(sys.executable) if python is None else python
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([made_with, "-m", "venv", "--clear", folder], check=True, timeout=300)
        install = [str(python), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(install, check=True, timeout=1200, capture_output=True)
        (folder / "ready").touch()
    return python


def environments_folder() -> Path:
    """Returns where environments are kept from one run to the next."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "brainformer" / "clean-environments"


def with_transformers(version: str) -> Path:
    """Returns the Python of an environment with that version of transformers."""
    place = environments_folder() / f"transformers-{version}-py{sys.version_info.minor}"
    return clean_environment(place, f"transformers=={version}", *PACKAGES)


def loaded(version: str, root: Path, *, cache: Path) -> list[dict[str, Any]]:
    """Returns what that version of transformers finds in the folders of `root`."""
    command = [str(with_transformers(version)), "-P", str(SCRIPT), str(root)]
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "TRANSFORMERS_VERBOSITY": "error"}
    settings |= {"PATH": os.environ["PATH"], "HOME": str(cache)}
    ran = subprocess.run(command, capture_output=True, text=True, env=settings, timeout=3000)
    if ran.returncode:
        raise RuntimeError(ran.stderr[-4000:])
    return [json.loads(line) for line in ran.stdout.splitlines()]
