"""A user whom the machine does not know (a container's user id), without HOME."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What the C library says of such a user id, in every process that is started.
UNKNOWN_USER = """
import pwd
def unknown(*_):
    raise KeyError("getpwuid(): uid not found: 54321")
pwd.getpwuid = unknown
"""


@pytest.fixture
def brainformer(tmp_path: Path):
    """Runs a command as such a user; returns exit code and stderr."""
    (tmp_path / "sitecustomize.py").write_text(UNKNOWN_USER)
    left_out = {"HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "XDG_DATA_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["PYTHONPATH"] = str(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-P", "-m", "brainformer.api.cli.main", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("token", "list"), "--database"),
        (("serve", "--port", "0"), "--database"),
        (("db", "check"), "--database"),
        (("data", "list"), "--folder"),
        (("worker",), "--state-folder"),
        (("worker", "--state-folder", "state"), "--data-folder"),
    ],
)
def test_the_folder_that_is_missing_is_named(brainformer, words, option) -> None:
    code, err = brainformer(*words)
    assert code == 1
    assert "no home folder" in err
    assert option in err


@pytest.mark.slow
def test_folders_given_by_options_suffice(brainformer, tmp_path: Path) -> None:
    assert brainformer("token", "list", "--database", f"sqlite:///{tmp_path}/a.db") == (0, "")
    assert brainformer("data", "list", "--folder", "sets")[0] == 0
    code, err = brainformer("token", "list", "--database", "sqlite:///~/a.db")
    assert (code, "write the path in full" in err) == (1, True)
