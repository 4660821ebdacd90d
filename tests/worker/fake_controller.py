"""A controller that answers what a test tells it to, over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]


def answer(body: Any, status: int = 200) -> Answer:
    return status, json.dumps(body).encode()


RECEIPT = answer({"trial_id": 1, "attempt": 1, "status": "completed"})
GO_ON = answer({"action": "continue"})
NO_LEASES = answer({"leases": []})
KNOWN = answer({"name": "token:w", "scopes": ["worker"]})


class FakeController:
    """Holds what was asked, and one function a path's last word.

    Attributes:
        asked: Path and body of every request, in order.
        answers: Last word of the path to a function of the body; absent words get 404.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Callable[[Any], Answer]] = {
            "claim": lambda _: NO_LEASES,
            "progress": lambda _: GO_ON,
            "result": lambda _: RECEIPT,
            "release": lambda _: (204, b""),
            "session": lambda _: KNOWN,
        }
        self.url = ""

    def say(self, word: str, *answers: Answer) -> None:
        """Answers with each of `answers` in turn, and with the last one from then on."""
        left = list(answers)
        self.answers[word] = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def got(self, word: str) -> list[Any]:
        """Returns the bodies of the requests to paths that end with `word`."""
        return [body for path, body in self.asked if path.rsplit("/", 1)[-1] == word]


@contextmanager
def fake_controller() -> Iterator[FakeController]:
    """Yields a controller that listens on 127.0.0.1 at a free port."""
    controller = FakeController()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.speak(json.loads(body) if body else None)

        def do_GET(self) -> None:
            self.speak(None)

        def speak(self, body: Any) -> None:
            controller.asked.append((self.path, body))
            word = self.path.rsplit("/", 1)[-1]
            status, content = controller.answers.get(word, lambda _: answer({}, 404))(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    controller.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield controller
    finally:
        server.shutdown()
        server.server_close()
