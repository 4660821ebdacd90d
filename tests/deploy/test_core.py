"""The core alone: what `pip install brainformer-search` brings is enough for a controller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.api.controller_process import free_port
from tests.repository import REPOSITORY
from tests.wheel import build_wheel
from tests.worker.stack import search_spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A virtual environment with the locked core and the wheel, and nothing else."""
    made: Path = tmp_path_factory.mktemp("core")
    wheel = build_wheel(made)
    subprocess.run([sys.executable, "-m", "venv", str(made / "venv")], check=True, timeout=120)
    pip = [str(made / "venv" / "bin" / "python"), "-m", "pip", "--quiet", "install"]
    lock = str(REPOSITORY / "requirements" / "controller.txt")
    subprocess.run([*pip, "--require-hashes", "-r", lock], check=True, timeout=300)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, timeout=60)
    return made


def environment(folder: Path) -> dict[str, str]:
    """Of a new user: nothing of this checkout, no settings, a home of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRAINFORMER")}
    kept.pop("PYTHONPATH", None)
    return {**kept, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_core_alone_serves_and_takes_a_search(folder):
    port = free_port()
    command = [str(folder / "venv" / "bin" / "brainformer"), "serve", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=log, stderr=log
        )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            wait_until_ready(http, process)
            spec = search_spec("core", trials=1, budget_seconds=1.0)
            key = {"Idempotency-Key": "core"}
            made = http.post("/api/v1/searches", json=spec, headers=key)
            assert made.status_code == 201, made.text
            assert http.get("/").status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
    assert code == 0, (folder / "log").read_text()


def wait_until_ready(http: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            if http.get("/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the controller did not become ready")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_that_needs_more_than_the_core_says_what_to_install(folder):
    for command in (("worker",), ("doctor",), ("data", "list"), ("demo",)):
        told = subprocess.run(
            [str(folder / "venv" / "bin" / "brainformer"), *command],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in told.stderr, (command, told.stderr)
        assert told.returncode == 0 or "brainformer-search[cpu]" in told.stderr, (command, told)
