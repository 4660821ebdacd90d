"""The restore drill of docs/deploy.md: back up while busy, lose the database, restore, go on."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.search.sql.store import open_store
from tests.api.controller_process import controller_process
from tests.api.rest_site import CLAIM, DONE, ROOT, SPEC
from tests.search.store.audit import all_trials, check_everything

LOSSES = {"limits": {"trials": 10_000}, "lease_seconds": 30, "max_attempts": 50}


class Worker:
    """Claims and reports, with a loss that belongs to the genome, and remembers every receipt."""

    def __init__(self, url: str, name: str) -> None:
        self.http = httpx2.Client(base_url=f"{url}{ROOT}", timeout=30, trust_env=False)
        self.name = name
        self.receipts: dict[str, dict[str, Any]] = {}
        self.pending: list[dict[str, Any]] = []

    def claim(self) -> list[dict[str, Any]]:
        answer = self.http.post("/leases/claim", json=CLAIM | {"worker_id": self.name})
        return list(answer.json()["leases"]) if answer.status_code == 200 else []

    def report(self, lease: dict[str, Any]) -> int:
        measured = {**DONE["measurements"], "validation_loss": loss_of(lease["genome"])}
        body = {**DONE, "measurements": measured}
        answer = self.http.post(f"/leases/{lease['lease_id']}/result", json=body)
        if answer.status_code == 200:
            self.receipts[lease["lease_id"]] = answer.json()
        return answer.status_code

    def work(self, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                for lease in self.claim():
                    self.pending = [lease]
                    self.report(lease)
            except httpx2.TransportError:
                time.sleep(0.05)


def loss_of(genome: dict[str, Any]) -> float:
    """A loss that only this genome has, so that a result on another trial would show."""
    text = repr(sorted(genome.items()))
    return 2 + sum(ord(letter) * place for place, letter in enumerate(text)) % 99_991 / 100_000


def run(*command: str) -> None:
    told = CliRunner().invoke(app, ["db", *command])
    assert told.exit_code == 0, told.output


@pytest.mark.slow
def test_a_busy_database_is_backed_up_restored_and_nothing_is_recorded_wrongly(
    tmp_path: Path,
) -> None:
    file, copy = tmp_path / "search.db", tmp_path / "copy.db"
    url = f"sqlite:///{file}"
    ended = threading.Event()
    with controller_process(url) as running:
        made = httpx2.post(f"{running.url}{ROOT}/searches", json=SPEC | LOSSES, trust_env=False)
        search_id = made.json()["id"]
        workers = [Worker(running.url, f"w-{n}") for n in range(3)]
        threads = [threading.Thread(target=one.work, args=(ended,)) for one in workers]
        for one in threads:
            one.start()
        wait_for_receipts(workers, 30)
        run("backup", str(copy), "--database", url)
        at_backup = sum(len(one.receipts) for one in workers)
        wait_for_receipts(workers, at_backup + 30)
        ended.set()
        for one in threads:
            one.join(timeout=30)
        holder = Worker(running.url, "holder")
        held = holder.claim()  # granted after the backup, and finished after the restore
        assert held
    for ending in ("", "-wal", "-shm"):
        Path(f"{file}{ending}").unlink(missing_ok=True)
    run("restore", str(copy), "--database", url)
    assert sqlite3.connect(file).execute("PRAGMA integrity_check").fetchone() == ("ok",)

    with controller_process(url) as running:
        late = Worker(running.url, "late")
        assert [late.report(lease) for lease in held] == [404] * len(held)
        fresh = Worker(running.url, "fresh")
        for _ in range(30):
            for lease in fresh.claim():
                assert fresh.report(lease) == 200
    store = open_store(url)
    try:
        check_everything(store, search_id)
        measured = [one for one in all_trials(store, search_id) if one.fitness is not None]
        assert len(measured) >= 40
        for one in measured:
            genome = one.genome.model_dump(mode="json")
            assert one.measurements.validation_loss == pytest.approx(loss_of(genome), abs=0)
    finally:
        store.close()


def wait_for_receipts(workers: list[Worker], count: int) -> None:
    end = time.monotonic() + 120
    while sum(len(one.receipts) for one in workers) < count:
        assert time.monotonic() < end
        time.sleep(0.05)
