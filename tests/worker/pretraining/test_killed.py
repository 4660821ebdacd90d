"""A run that is killed at random points and goes on ends where one that was not killed ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brainformer.worker.pretraining.run_folder import RunFolder
from tests.worker.pretraining.runs import assert_same_state, steps_in

STEPS = 400
# Checkpoints so close together that about every third kill meets one that is being written.
OPTIONS = ("--save-every", "25", "--validate-every", "40", "--report-every", "1s")
GENOME = {
    "model_dim": 16,
    "layers": [
        {"kind": "attention", "heads": 2},
        {"kind": "moe", "hidden_dim": 16, "activation": "gelu", "gating": "expert_choice",
         "capacity_factor": 1},
    ],
}  # fmt: skip


def start(run: Path, block: Path, data_folder: Path) -> subprocess.Popen[str]:
    """Starts the command line's own process, always with the same words."""
    words = [str(block), "-o", str(run), "--steps", str(STEPS), "--data", "modules", *OPTIONS]
    command = [sys.executable, "-m", "brainformer.api.cli.main", "train", *words]
    cache = {"XDG_CACHE_HOME": str(block.parent / "cache")}
    return subprocess.Popen(
        [*command, "--data-folder", str(data_folder), "--sequence-length", "32"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | cache,
    )


def kill_somewhere(run: Path, process: subprocess.Popen[str], *, draw: random.Random) -> int:
    """Kills the process some moment after it began to train; returns how it ended."""
    assert process.stderr is not None
    for line in process.stderr:
        if "parameters on" in line:
            break
    time.sleep(draw.uniform(0.0, 1.0))
    process.send_signal(signal.SIGKILL)
    process.stderr.read()
    return process.wait()


def check(tmp_path: Path, data_folder: Path, *, kills: int, seed: int) -> None:
    block = tmp_path / "block.json"
    block.write_text(json.dumps(GENOME))
    whole = start(tmp_path / "whole", block, data_folder)
    _, told = whole.communicate(timeout=170)
    assert whole.returncode == 0, told
    draw, run, killed = random.Random(seed), tmp_path / "run", 0
    reached: set[int] = set()
    for _ in range(kills):
        ended = kill_somewhere(run, start(run, block, data_folder), draw=draw)
        killed += ended == -signal.SIGKILL
        reached.add(max(steps_in(run), default=-1))
    assert killed >= kills // 2  # the others were over before
    assert len(reached) > kills // 4  # and they met the run at different steps
    last = start(run, block, data_folder)
    _, told = last.communicate(timeout=170)
    assert last.returncode == 0, told
    assert_same_state(RunFolder(run).newest(), RunFolder(tmp_path / "whole").newest())
    assert steps_in(run)[-1] == STEPS
    assert not list((run / "checkpoints").glob(".*"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_killed_twice_ends_bit_for_bit_where_one_that_was_not_ends(
    tmp_path: Path, data_folder: Path
) -> None:
    check(tmp_path, data_folder, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_ten_times_ends_bit_for_bit_where_one_that_was_not_ends(
    tmp_path: Path, data_folder: Path
) -> None:
    check(tmp_path, data_folder, kills=10, seed=2)
