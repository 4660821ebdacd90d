"""The wheel of this checkout, built from a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.repository import REPOSITORY

FOLDERS = ("brainformer", "search", "model", "worker", "api")
CACHES = shutil.ignore_patterns("__pycache__")


def build_wheel(folder: Path) -> Path:
    """Returns the wheel, built in the folder."""
    source = folder / "source"  # a build leaves files behind
    source.mkdir()
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, symlinks=True, ignore=CACHES)
        else:
            shutil.copy(path, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, timeout=170)
    (wheel,) = folder.glob("*.whl")
    return wheel
