"""The real controller on a free port, a scripted worker that feeds it, and a real Chromium."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from brainformer.api.app import create_app
from brainformer.api.settings import load_settings

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
SPEC = {
    "name": "laptop",
    "space": "nano",
    "limits": {"trials": 40},
    "population_size": 6,
    "tournament_size": 3,
    "baseline_repeats": 2,
    "confirmations": 0,
    "screening": {"kind": "none"},
    "proxy": {"experts": 8, "head_dim": 16, "budget_seconds": 10},
}


class Site:
    """A controller that can be stopped and started again on the same port and database."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = {"database_url": f"sqlite:///{folder / 'site.db'}", **settings}
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        app = create_app(load_settings(None, port=self.port, **self.settings))
        config = uvicorn.Config(
            app, host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(lambda: self._server.started, "the controller has started")
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()


class ScriptedWorker:
    """Claims leases and reports what a test wants, as a dispatcher would."""

    def __init__(self, site: Site, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx2.Client(
            base_url=f"{site.url}/api/v1", headers=headers, timeout=20, trust_env=False
        )

    def create_search(self, **changes: Any) -> str:
        key = {"Idempotency-Key": f"key-{time.monotonic_ns()}"}
        answer = self.http.post("/searches", json=SPEC | changes, headers=key)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def claim(self) -> dict[str, Any]:
        body = {"worker_id": "scripted-1", "pool": "cpu"}
        answer = self.http.post("/leases/claim", json=body)
        assert answer.status_code == 200, answer.text
        leases = answer.json()["leases"]
        assert leases, "no lease was granted"
        lease: dict[str, Any] = leases[0]
        return lease

    def finish(self, lease: dict[str, Any], *, loss: float = 2.0, **figures: Any) -> None:
        curve = [
            {
                "fraction": part / 4,
                "step": 100 * part,
                "training_seconds": 2.5 * part,
                "validation_loss": loss + 1.5 / (1 + part) - 0.3,
            }
            for part in range(5)
        ]
        measured = {
            "validation_loss": loss,
            "bits_per_byte": loss * 1.4427,
            "step_time_ms": 20.0,
            "step_time_spread_ms": 0.4,
            "steps": 400,
            "tokens": 800_000,
            "training_seconds": 10.0,
            "elapsed_seconds": 13.0,
            "parameters": 500_000,
            "activated_parameters": 300_000,
            "curve": curve,
            **figures,
        }
        self.report(lease, {"outcome": "completed", "measurements": measured})

    def report(self, lease: dict[str, Any], result: dict[str, Any]) -> None:
        answer = self.http.post(f"/leases/{lease['lease_id']}/result", json=result)
        assert answer.status_code == 200, answer.text

    def measure_baseline(self) -> list[int]:
        return self.finish_next([2.0, 2.01], kind="baseline")

    def finish_candidates(self, losses: list[float]) -> list[int]:
        return self.finish_next(losses, kind="candidate")

    def finish_next(self, losses: list[float], *, kind: str) -> list[int]:
        numbers = []
        for loss in losses:
            lease = self.claim()
            assert lease["kind"] == kind
            self.finish(lease, loss=loss)
            numbers.append(lease["trial_number"])
        return numbers

    def trials(self, search: str) -> dict[int, dict[str, Any]]:
        """Returns the trials of a small search by number."""
        answer = self.http.get(f"/searches/{search}/trials", params={"limit": 100})
        return {trial["number"]: trial for trial in answer.json()["items"]}


def chromium() -> str:
    """Returns the browser's path; its absence is a failure, never a skip."""
    for name in (os.environ.get("BRAINFORMER_CHROMIUM"), "chromium", "chromium-browser"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise AssertionError("no Chromium: install it or set BRAINFORMER_CHROMIUM to its path")


@contextmanager
def open_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=CHROMIUM_ARGUMENTS, timeout=60_000
        )
        yield browser
        browser.close()


class Watched:
    """A page, with what went wrong in it and what it asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._on_console)
        page.on("request", lambda request: self.requests.append(request.url))

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def until(self, holds: Callable[[], Any], what: str) -> None:
        """Waits for what the page's own events bring about, which arrive while the page waits."""
        until(lambda: holds() or self.page.wait_for_timeout(50), what)

    def plotted(self) -> dict[str, list[int]]:
        """Returns the trial numbers in the plot by series."""
        found: dict[str, list[dict[str, Any]]] = self.page.evaluate(
            """() => Object.groupBy(
                 (document.querySelector("#chart-fitness .chart-area")?.marks() ?? [])
                   .filter((mark) => mark.series),
                 (mark) => mark.series)"""
        )
        return {series: [mark["number"] for mark in marks] for series, marks in found.items()}


def until(holds: Callable[[], Any], what: str, seconds: float = 40) -> None:
    """Waits for `holds`; the page's policy forbids the browser's own waiting functions."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.1)
