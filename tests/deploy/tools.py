"""The tools that judge what deploy/ holds; `make deploy-tools` installs them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.repository import REPOSITORY

FOLDER = REPOSITORY / ".venv" / "deploy-tools" / "bin"


def run_tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Returns the finished run of `helm`, `hadolint` or `kubernetes-validate`."""
    program = FOLDER / name
    assert program.exists(), f"{name} is not there: run `make deploy-tools`"
    return subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
