"""A controller and a dispatcher on this machine, as processes of their own, for benchmarks."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx2
import psutil

from brainformer.search.proxy.builtin_proxies import load_proxy

START_SECONDS = 60.0


def search_spec(name: str, *, trials: int, budget_seconds: float, **changes: Any) -> dict[str, Any]:
    """Returns the spec of a random nano search in which every trial runs to its end."""
    proxy = load_proxy("nano").model_copy(update={"budget_seconds": budget_seconds})
    return {
        "name": name,
        "space": "nano",
        "algorithm": "random",
        "proxy": proxy.model_dump(mode="json"),
        "limits": {"trials": trials},
        "baseline_repeats": 1,
        "confirmations": 0,
        "screening": {"kind": "none"},
        "step_time_slack": None,
        "hurdle": False,
        **changes,
    }


class Stack:
    """Runs `brainformer serve` and `brainformer worker` while inside.

    Args:
        folder: For the database, the worker's state and the logs.
        slots: Of the dispatcher.
        runner: `train` or `sleep`.
        state_folder: The worker's; by default a fresh one in `folder`.
        extra: Further arguments of the worker.
    """

    def __init__(
        self,
        folder: Path,
        *,
        slots: int,
        runner: str,
        state_folder: Path | None = None,
        extra: tuple[str, ...] = (),
    ) -> None:
        self._folder = folder
        self._port = _free_port()
        url = f"http://127.0.0.1:{self._port}"
        self.http = httpx2.Client(base_url=f"{url}/api/v1", timeout=60, trust_env=False)
        self._controller_arguments = ["serve", "--port", str(self._port)]
        self._controller_arguments += ["--database", f"sqlite:///{folder / 'search.db'}"]
        state = state_folder or folder / "worker"
        self._worker_arguments = ["worker", "--url", url, "--slots", str(slots), *extra]
        self._worker_arguments += ["--runner", runner, "--state-folder", str(state)]

    def __enter__(self) -> Self:
        self.restart_controller()
        self.restart_worker()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        for process in (self.worker, self.controller):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def restart_controller(self) -> None:
        """Starts the controller, whose last process has ended."""
        self.controller = self._start("controller", self._controller_arguments)
        end = time.monotonic() + START_SECONDS
        while not self._healthy():
            if time.monotonic() > end:
                raise TimeoutError(self.words("controller"))
            time.sleep(0.1)

    def restart_worker(self) -> None:
        """Starts the dispatcher, whose last process has ended."""
        self.worker = self._start("worker", self._worker_arguments)

    def create(self, spec: dict[str, Any]) -> str:
        """Returns the id of a new search."""
        answer = self.http.post("/searches", json=spec)
        if not answer.is_success:
            raise ValueError(answer.text)
        return str(answer.json()["id"])

    def wait(self, search: str, *, seconds: float) -> None:
        """Returns when the search has ended, or the seconds are over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.worker.poll() is not None:
                raise RuntimeError(self.words("worker"))
            state = self.http.get(f"/searches/{search}").json()
            if state["status"] not in {"running", "paused", "stopping"}:
                return
            time.sleep(1.0)

    def trials(self, search: str) -> list[dict[str, Any]]:
        """Returns every trial of the search."""
        found, cursor = [], None
        while True:
            parameters = {"limit": 500} | ({"cursor": cursor} if cursor else {})
            page = self.http.get(f"/searches/{search}/trials", params=parameters).json()
            found += page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return found

    def parts(self) -> dict[str, list[psutil.Process]]:
        """Returns the processes by the part that they play."""
        found: dict[str, list[psutil.Process]] = {
            "controller": [psutil.Process(self.controller.pid)],
            "dispatcher": [psutil.Process(self.worker.pid)],
            "ray": [],
            "actors": [],
            "training": [],
        }
        for process in psutil.Process(self.worker.pid).children(recursive=True):
            try:
                command = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if "brainformer.worker.process.trial_process" in command:
                found["training"].append(process)
            elif command.startswith("ray::"):
                found["actors"].append(process)
            else:
                found["ray"].append(process)
        return found

    def words(self, name: str) -> str:
        """Returns the end of what a process wrote."""
        return (self._folder / f"{name}.log").read_text("utf-8")[-4000:]

    def _start(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "brainformer.api.cli.main", *arguments]
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def _healthy(self) -> bool:
        try:
            return self.http.get(f"http://127.0.0.1:{self._port}/healthz").is_success
        except httpx2.HTTPError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
