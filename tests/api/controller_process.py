"""A real `brainformer serve` in a process of its own, for tests and benchmarks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2


@dataclass
class ControllerProcess:
    """A running controller.

    Attributes:
        log: Its lines on stderr so far, parsed; what is not JSON stands under "text".
    """

    process: subprocess.Popen[str]
    url: str
    log: list[dict] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def follow(self) -> None:
        """Starts reading the log."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Returns when the controller serves; fails if it ends first."""
        end = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < end:
            try:
                if httpx2.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.05)
        raise RuntimeError(f"the controller did not start: {self.log[-3:]}")

    def finish_log(self) -> list[dict]:
        """Returns the whole log of a process that has ended."""
        self.process.wait(timeout=30)
        if self._reader is not None:
            self._reader.join(timeout=30)
        return self.log

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.log.append(dict(json.loads(line)))
            except ValueError:
                self.log.append({"text": line})


def free_port() -> int:
    """Returns a port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def controller_process(
    database_url: str, *arguments: str, **settings: object
) -> Iterator[ControllerProcess]:
    """Yields a controller on a free port; `settings` go by its environment."""
    port = free_port()
    command = [sys.executable, "-m", "brainformer.api.cli.main", "serve", "--port", str(port)]
    environment = {**os.environ, "BRAINFORMER_LOG_FORMAT": "json"}
    environment |= {f"BRAINFORMER_{name.upper()}": str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [*command, "--database", database_url, *arguments],
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        # A shell that runs the tests in the background has SIGINT ignored, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    found = ControllerProcess(process, f"http://127.0.0.1:{port}")
    found.follow()
    try:
        found.wait_until_ready()
        yield found
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
        found.finish_log()
