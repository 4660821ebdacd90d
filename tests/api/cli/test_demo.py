"""`brainformer demo` for real, on a small budget: controller, Ray, dispatcher, training, export."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from brainformer.api.cli.demo.processes import MARK
from brainformer.api.cli.terminal.exit_codes import INTERRUPTED
from brainformer.search.export.genome_file import read_export
from tests.repository import REPOSITORY

SPEC = """
name: small
space: nano
proxy: {budget_seconds: 1, blocks: 1, validation_tokens: 1024}
baseline_repeats: 1
population_size: 3
tournament_size: 2
step_time_slack: 2
limits: {trials: 5}
confirmations: 1
confirmation_repeats: 1
lease_seconds: 30
"""
EXAMPLE = REPOSITORY / "examples" / "load_genome.py"
pytestmark = [pytest.mark.slow, pytest.mark.timed, pytest.mark.timeout(600)]


class Demo:
    """A demo in a folder of its own, as a person starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "spec.yaml").write_text(SPEC)

    def start(self) -> subprocess.Popen[str]:
        state = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "brainformer.api.cli.main", "demo", "-f", "spec.yaml"],
            cwd=self.folder,
            env={**os.environ, **state, MARK: str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finished(self) -> dict[int, float]:
        """Returns the loss of every completed trial by number, from the database itself."""
        try:
            with sqlite3.connect(f"file:{self.folder}/demo/search.db?mode=ro", uri=True) as file:
                rows = file.execute(
                    "SELECT number, measurements FROM trials WHERE status = 'completed'"
                ).fetchall()
        except sqlite3.OperationalError:  # the controller has not made it yet
            return {}
        return {number: json.loads(text)["validation_loss"] for number, text in rows}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    yield Demo(tmp_path)
    left = left_behind(tmp_path)
    for process in left:
        process.kill()
    assert left == []


def left_behind(folder: Path) -> list[psutil.Process]:
    """Returns the processes that were started for `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(folder) in " ".join(process.environ().values()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_an_interrupted_demo_leaves_nothing_behind_and_goes_on_where_it_was(demo: Demo) -> None:
    first = demo.start()
    wait_for_trials(demo, first, 2)
    first.send_signal(signal.SIGINT)
    told, _ = first.communicate(timeout=60)
    assert first.returncode == INTERRUPTED, told
    assert "run the demo again to continue" in told
    assert "Traceback" not in told
    assert left_behind(demo.folder) == []
    before = demo.finished()

    second = demo.start()
    told, _ = second.communicate(timeout=400)
    assert second.returncode == 0, told
    assert "continuing search" in told
    assert before.items() <= demo.finished().items()
    for word in ("validation loss", "bits per byte", "step time", "parameters", "exported"):
        assert word in told
    export = read_export(demo.folder / "demo" / "best-block.json")
    assert export.search_name == "small"
    shown = subprocess.run(
        [sys.executable, str(EXAMPLE), str(demo.folder / "demo" / "best-block.json")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "untrained loss" in shown.stdout, shown.stderr

    third = demo.start()
    told, _ = third.communicate(timeout=60)
    assert third.returncode == 0, told
    assert "(completed)" in told


def wait_for_trials(demo: Demo, process: subprocess.Popen[str], count: int) -> None:
    """Waits until `count` trials have completed."""
    deadline = time.monotonic() + 240
    while len(demo.finished()) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
