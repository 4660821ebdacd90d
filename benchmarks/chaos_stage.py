"""The stage of the chaos benchmark: real processes, and a proxy between them that can kill.

The proxy stands between dispatcher and controller and sees every message, so that a kill falls
exactly at a named point, without a hook in the product.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import psutil

PATIENCE_LOOKS = 6_000
LOOK_SECONDS = 0.02
BEFORE_DISPATCH = "before dispatch"
BEFORE_RECORD = "after the result, before the record"
BEFORE_RECEIPT = "after the commit, before the receipt"


def wait_for(what: str, holds: Callable[[], bool], looks: int = PATIENCE_LOOKS) -> None:
    """Waits until it holds; raises TimeoutError, which says what never came.

    Patience is counted in looks and not by a clock: a machine that halts this process meanwhile
    uses none of it up.
    """
    for _ in range(looks):
        if holds():
            return
        time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"{what} did not come within {looks} looks")


def free_port() -> int:
    """Returns a port that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Controller:
    """`brainformer serve` on one database and one port."""

    def __init__(self, database: str, folder: Path) -> None:
        self.port = free_port()
        self._command = [
            sys.executable,
            "-m",
            "brainformer.api.cli.main",
            "serve",
            "--port",
            str(self.port),
        ]
        self._command += ["--database", database]
        self._log = (folder / "controller.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        environment = {**os.environ, "BRAINFORMER_REAP_SECONDS": "0.5"}
        self._process = subprocess.Popen(
            self._command, env=environment, stdout=self._log, stderr=self._log
        )
        wait_for("a ready controller", self._ready)

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in order."""
        self._end(signal.SIGTERM)
        self._log.close()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the controller ended with {self._process.returncode}")
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx2.HTTPError:
            return False


class Dispatcher:
    """`brainformer worker --runner sleep`, a Ray of its own, two slots."""

    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder
        self._command = [
            sys.executable,
            "-m",
            "brainformer.api.cli.main",
            "worker",
            "--runner",
            "sleep",
        ]
        self._command += ["--slots", "2", "--url", url, "--state-folder", str(folder / "state")]
        self._log = (folder / "dispatcher.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; Ray takes a while before the first claim."""
        self._process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def kill(self) -> None:
        """Kills it with SIGKILL; whatever it had started must die with it or is killed too."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in order."""
        self._end(signal.SIGTERM)
        self._log.close()

    def trials(self) -> list[psutil.Process]:
        """Returns the training processes that are alive."""
        return [
            one
            for one in self._family()
            if "brainformer.worker.process.trial_process" in _words(one)
        ]

    def undelivered(self) -> list[Path]:
        """Returns the results that wait on disk."""
        return list((self._folder / "state" / "outbox").rglob("*.json"))

    def _family(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        family = self._family()
        self._process.send_signal(number)
        self._process.wait()
        self._process = None
        _, alive = psutil.wait_procs(family, timeout=5)
        for one in alive:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class Proxy:
    """Passes messages on, keeps the receipts, and fires once at the point it is armed for."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._lock = threading.Lock()
        self._armed: tuple[str, Callable[[], None]] | None = None
        self.fired = threading.Event()
        self.receipts: dict[str, dict[str, Any]] = {}
        self.contradictions: list[str] = []
        self.delivered = 0
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("BoundHandler", (Handler,), {"proxy": self})
        )
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """What the dispatcher takes for the controller."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def arm(self, point: str, kill: Callable[[], None]) -> None:
        """Kills at the next message that reaches the point; that message is lost."""
        with self._lock:
            self.fired.clear()
            self._armed = point, kill

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()

    def fires(self, point: str) -> bool:
        """Kills if this is the point; the message is then not passed on."""
        with self._lock:
            if self._armed is None or self._armed[0] != point:
                return False
            _, kill = self._armed
            self._armed = None
            kill()
        self.fired.set()
        return True

    def pass_on(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any, bytes]:
        """Returns the controller's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._controller.port, timeout=900)
        try:
            kept = {
                name: value
                for name, value in headers.items()
                if name.lower() not in {"host", "connection", "accept-encoding"}
            }
            connection.request(method, path, body=body or None, headers=kept)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def note(self, lease_id: str, receipt: dict[str, Any]) -> None:
        """Keeps what the controller has promised; a repeat must say the same."""
        promised = {name: receipt[name] for name in ("trial_id", "attempt", "status", "fitness")}
        with self._lock:
            before = self.receipts.setdefault(lease_id, promised)
            if before != promised:
                self.contradictions.append(f"{lease_id}: {before} and then {promised}")


class Handler(BaseHTTPRequestHandler):
    """One connection from the dispatcher."""

    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def do_GET(self) -> None:
        """Passes a question on."""
        self._serve()

    def do_POST(self) -> None:
        """Passes a message on, unless this is the moment to kill."""
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        result = self.path.endswith("/result")
        answer = None
        if not (result and self.proxy.fires(BEFORE_RECORD)):
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self.proxy.pass_on(self.command, self.path, self.headers, body)
        if answer is None or self._is_the_moment(answer[0], answer[2]):
            self.close_connection = True
            self.connection.close()
            return
        self._answer(*answer)
        if result and answer[0] == 200:
            self.proxy.delivered += 1

    def _is_the_moment(self, status: int, content: bytes) -> bool:
        """Notes a receipt; returns whether its way or that of a grant was cut."""
        if status != 200:
            return False
        if self.path.endswith("/result"):
            self.proxy.note(self.path.split("/")[-2], json.loads(content))
            return self.proxy.fires(BEFORE_RECEIPT)
        granted = self.path.endswith("/claim") and json.loads(content)["leases"]
        return bool(granted) and self.proxy.fires(BEFORE_DISPATCH)

    def _answer(self, status: int, headers: Any, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Says nothing."""
