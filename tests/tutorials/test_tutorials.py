"""Every tutorial, typed in as it stands: its blocks are one session of a shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.controller_process import free_port
from tests.repository import REPOSITORY

pytestmark = pytest.mark.timed


FOLDER = REPOSITORY / "docs" / "tutorials"
PAGES = sorted(page.name for page in FOLDER.glob("*.md") if page.name != "README.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STARTED = """
for try in $(seq 120); do brainformer search list > /dev/null 2>&1 && break; sleep 0.5; done
"""
# What a page must have led to, in its folder.
MADE = {
    "laptop.md": ("block.json", "report.html", "first.jsonl"),
    "gpu-machine.md": ("mine.yaml",),
    "cluster.md": ("worker.token",),
    "own-evaluator.md": ("mine.db", "block.json"),
    "use-the-block.md": ("block.py", "weights/export.json", "for-transformers/config.json"),
}


def session_of(page: str) -> str:
    """Returns the commands of a page; each must end well before the next begins.

    A reader takes longer from one block to the next than a controller takes to start.
    """
    blocks = [text for kind, text in BLOCK.findall((FOLDER / page).read_text()) if kind == "sh"]
    assert blocks
    return "set -e -o pipefail\n" + "\n".join(
        text + STARTED if "brainformer serve" in text else text for text in blocks
    )


def test_every_tutorial_is_in_the_list_and_is_run() -> None:
    listed = re.findall(r"\]\(([a-z-]+\.md)\)", (FOLDER / "README.md").read_text())
    assert sorted(listed) == PAGES == sorted(MADE)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_does_what_it_says(page: str, tmp_path: Path) -> None:
    port = free_port()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": programs,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "BRAINFORMER_PORT": str(port),
        "BRAINFORMER_URL": f"http://127.0.0.1:{port}",
        "PLATFORM": "cpu",
        "ACCELERATORS": "0",
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", session_of(page)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            ended = process.wait(timeout=840)
        finally:
            _end_session(process.pid)
    said = (tmp_path / "log").read_text()
    assert ended == 0, said[-4000:]
    assert "Traceback" not in said, said[-4000:]
    assert [name for name in MADE[page] if not (tmp_path / name).exists()] == []


def _end_session(leader: int) -> None:
    """Kills what a session that broke off has left in the background."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "-s", str(leader)], capture_output=True, text=True, check=False
    )
    for one in found.stdout.split():
        if int(one) != leader:
            os.kill(int(one), signal.SIGKILL)
