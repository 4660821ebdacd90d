"""The real app on a SQLite file, called in process or over a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from brainformer.api.app import create_app
from brainformer.api.server import Server, configuration
from brainformer.api.settings import Settings, load_settings
from brainformer.search.sql.store import open_store
from brainformer.search.store.actor import Actor

ROOT = "/api/v1"
BASE = "http://127.0.0.1"
SPEC: dict[str, Any] = {
    "name": "laptop",
    "space": "nano",
    "limits": {"trials": 40},
    "population_size": 6,
    "tournament_size": 3,
    "baseline_repeats": 1,
    "confirmations": 0,
    "screening": {"kind": "none"},
    "proxy": {"experts": 8, "head_dim": 16, "sequence_length": 64, "batch_size": 16},
}
CLAIM = {"worker_id": "w-1", "pool": "cpu"}
DONE = {
    "outcome": "completed",
    "measurements": {
        "validation_loss": 2.0,
        "bits_per_byte": 2.9,
        "step_time_ms": 20.0,
        "curve": [{"fraction": 0.25, "step": 10, "training_seconds": 1.0, "validation_loss": 3.0}],
    },
}


def settings_for(folder: Path, **given: Any) -> Settings:
    return load_settings(None, **{"database_url": f"sqlite:///{folder / 'rest.db'}", **given})


@contextmanager
def client(folder: Path, **given: Any) -> Iterator[TestClient]:
    """Yields a client of an open controller, errors answered rather than raised."""
    app = create_app(settings_for(folder, **given))
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as found:
        yield found


def token(folder: Path, *scopes: str, name: str = "me") -> str:
    """Makes a token as the command line would while no controller runs; returns its secret."""
    store = open_store(settings_for(folder).database_url)
    try:
        actor = Actor(name="test")
        return store.create_token(name, scopes, expires_in_seconds=None, actor=actor)[1]
    finally:
        store.close()


def create(http: TestClient, **changes: Any) -> dict[str, Any]:
    answer = http.post(f"{ROOT}/searches", json=SPEC | changes)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def claim(http: Any, **changes: Any) -> list[dict[str, Any]]:
    answer = http.post(f"{ROOT}/leases/claim", json=CLAIM | changes)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["leases"])


def to_candidates(http: Any) -> dict[str, Any]:
    """Runs the baseline of a search with one repeat; returns the first candidate's lease."""
    lease = claim(http)[0]
    assert lease["kind"] == "baseline"
    finish(http, lease)
    return claim(http)[0]


def finish(http: Any, lease: dict[str, Any], **measured: Any) -> dict[str, Any]:
    body = {**DONE, "measurements": DONE["measurements"] | measured}
    answer = http.post(f"{ROOT}/leases/{lease['lease_id']}/result", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@contextmanager
def served(folder: Path, **given: Any) -> Iterator[tuple[httpx2.Client, Server]]:
    """Yields a client over a real socket, and the server."""
    settings = settings_for(folder, **given)
    app = create_app(settings)
    config = configuration(app, settings)
    config.port, config.timeout_graceful_shutdown = 0, 5
    server = Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx2.Client(base_url=f"{BASE}:{port}", timeout=15, trust_env=False) as http:
            yield http, server
    finally:
        server.should_exit = True
        thread.join(timeout=15)
        assert not thread.is_alive(), "the server did not end in time"
