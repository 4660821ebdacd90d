"""The dashboard below a path, in a browser, behind a proxy that strips the path."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.site import ScriptedWorker, Site

BELOW = "/team/brainformer"


class Proxy(BaseHTTPRequestHandler):
    """Serves what lies below the path, and nothing else."""

    port = 0

    def do_GET(self) -> None:
        if not self.path.startswith(f"{BELOW}/"):
            self.send_error(404)
            return
        controller = http.client.HTTPConnection("127.0.0.1", self.port)
        headers = {"Host": "127.0.0.1", "Accept": self.headers.get("Accept", "*/*")}
        controller.request("GET", self.path.removeprefix(BELOW), headers=headers)
        answer = controller.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.end_headers()
        while data := answer.read1(65_536):
            self.wfile.write(data)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxy(port: int) -> Iterator[str]:
    handler = type("Bound", (Proxy,), {"port": port})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}{BELOW}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path, root_path=BELOW)
    yield found
    found.stop()


def test_the_dashboard_works_below_a_path(watched, site: Site, worker: ScriptedWorker, feed):
    with proxy(site.port) as url:
        page = watched.page
        page.goto(f"{url}/")
        page.get_by_role("link", name="laptop").first.click()
        assert page.url.startswith(f"{url}/?")
        rows = page.locator(".grid-row[data-number]")
        expect(rows.first).to_be_visible()
        worker.finish_candidates([1.5])  # arrives by the stream
        expect(page.locator("body")).to_contain_text("1.5")
        rows.locator("a").first.click()
        page.reload()
        expect(rows.first).to_be_visible()
        page.locator("a[href='./']").first.click()
        expect(page).to_have_url(f"{url}/")
