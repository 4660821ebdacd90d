"""`brainformer search watch` on a terminal, which draws the search in place."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.api.cli.test_search import SPEC, brainformer
from tests.api.dashboard.site import ScriptedWorker, Site

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal of 100 columns in which a command runs."""

    def __init__(self, *arguments: str) -> None:
        near, far = pty.openpty()
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "brainformer.api.cli.main", *arguments],
            stdin=far,
            stdout=far,
            stderr=far,
            env=environment,
        )
        os.close(far)
        self._near = near
        self._seen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._near, 65536)
            except OSError:  # the other side is closed
                return
            if not part:
                return
            self._seen += part

    @property
    def text(self) -> str:
        return ESCAPES.sub(b"", self._seen).decode()

    def wait_for(self, text: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, self.text[-2000:]
            time.sleep(0.05)


def test_a_watched_search_is_drawn_in_place(
    site: Site, worker: ScriptedWorker, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("trials: 2", "trials: 3"))
    search = brainformer(site, "search", "create", "-f", str(spec)).stdout.strip()
    worker.finish_next([2.0], kind="baseline")
    watching = Terminal("search", "watch", search, "--url", site.url)
    watching.wait_for("0/3")
    watching.wait_for("known after the next result")
    worker.finish_next([1.5], kind="candidate")
    watching.wait_for("1/3")
    watching.wait_for("0.500 (single run)")
    watching.wait_for("about 0:0")
    watching.wait_for("1 in cpu")
    worker.finish_next([1.9, 1.8], kind="candidate")
    watching.wait_for("small: completed")
    watching.wait_for("3/3")
    assert watching.process.wait(20) == 0
    assert "trial.finished" in watching.text


def test_a_watch_that_is_interrupted_leaves_the_terminal_as_it_was(
    site: Site, worker: ScriptedWorker, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    search = brainformer(site, "search", "create", "-f", str(spec)).stdout.strip()
    watching = Terminal("search", "watch", search, "--url", site.url)
    watching.wait_for("0/2")
    watching.process.send_signal(2)
    watching.process.wait(20)
    shown = watching._seen
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")  # the cursor is back
    assert "Traceback" not in watching.text
