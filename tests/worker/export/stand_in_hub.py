"""A hub on this machine: the part of the protocol that an upload speaks, large files included."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class StandInHub:
    """What was uploaded, and what was asked for.

    Attributes:
        refuse: A status that every request gets instead.
        large: The ends of names that go to the store of large files.
    """

    url: str = ""
    refuse: int | None = None
    large: tuple[str, ...] = (".safetensors",)
    repositories: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Returns status and JSON of a request."""
        if self.refuse is not None:
            return self.refuse, {"error": "no"}
        path = path.partition("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization") or "me", asked["name"])))
            self.repositories.add(name)
            return 200, {"url": f"{self.url}/{name}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if "/preupload/" in path:
            files = [self._upload_mode(one["path"]) for one in json.loads(body)["files"]]
            return 200, {"files": files}
        if path.endswith("/info/lfs/objects/batch"):
            return 200, self._batch(json.loads(body))
        if path.startswith("/objects/") and method == "PUT":
            self.objects[path.rsplit("/", 1)[1]] = body
            return 200, {}
        if "/commit/" in path:
            return 200, self._commit(path, body)
        if path.startswith("/api/models/"):
            return 200, self._model(path)
        return 404, {"error": f"{method} {path}"}

    def _upload_mode(self, path: str) -> dict[str, Any]:
        mode = "lfs" if path.endswith(self.large) else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects = [
            {
                **one,
                "actions": {"upload": {"href": f"{self.url}/objects/{one['oid']}", "header": {}}},
            }
            for one in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def _commit(self, path: str, body: bytes) -> dict[str, Any]:
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.files[value["path"]] = self.objects[value["oid"]]
        name = path.removeprefix("/api/models/").partition("/commit/")[0]
        commit = "0" * 39 + "1"
        return {"commitUrl": f"{self.url}/{name}/commit/{commit}", "commitOid": commit}

    def _model(self, path: str) -> dict[str, Any]:
        name = "/".join(path.split("/")[3:5])
        return {"id": name, "sha": "0" * 40, "private": False, "siblings": [], "tags": []}


@contextmanager
def stand_in_hub() -> Iterator[StandInHub]:
    """Yields a hub that listens on a free port."""
    hub = StandInHub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            hub.tokens.add(self.headers.get("Authorization", ""))
            body = self._chunks() if not length and self.headers.get("Transfer-Encoding") else b""
            status, data = hub.answer(self.command, self.path, body or self.rfile.read(length))
            text = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = do_PUT = do_HEAD = _serve

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
