"""What a simulated fleet works on: a durable database, its searches, and who takes which cores."""

from __future__ import annotations

import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from sqlalchemy import create_engine, func, select, update

from brainformer.api.connections import RESERVED_FILES
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.connection.tables import searches, trials
from brainformer.search.sql.store import SqlStore
from brainformer.search.store.actor import Actor
from brainformer.search.trials.lease_messages import ClaimRequest, Result
from brainformer.search.trials.trial import CurvePoint, Measurements, Outcome
from tests.api.controller_process import ControllerProcess
from tests.postgres import postgres_server

ME = Actor(name="benchmark")
PUSHERS = 16
STARTS_PER_SECOND = 25


@dataclass(frozen=True)
class Fleet:
    """One simulation, and its bar: p99 of a claim, and used share where there is one."""

    workers: int
    budget: float
    searches: int = 1
    seconds: float = 240.0
    claim_bar_ms: float | None = None
    used_bar: float | None = None
    ramp_seconds: float | None = None

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"{self.workers} workers x {self.budget:g} s, {self.searches} searches"

    @property
    def ramp(self) -> float:
        """Seconds over which the workers start: no faster than one controller grants leases."""
        return self.ramp_seconds or max(10.0, self.workers / STARTS_PER_SECOND)


def limits(fleet: Fleet) -> dict[str, int | str]:
    """Returns the settings of a controller that turns none of the fleet's workers away."""
    wanted = fleet.workers + 1_000  # a worker asks one thing at a time
    able = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - RESERVED_FILES
    connections = min(wanted, able)
    if connections < fleet.workers + PUSHERS:
        raise SystemExit(f"{fleet.workers} workers need {wanted} open files (ulimit -Hn)")
    return {
        "claims_per_second": 1_000_000,
        "max_connections": connections,
        "max_connections_per_client": connections,
        "max_waiting_claims": connections,
        "log_level": "warning",
    }


@contextmanager
def database(kind: str) -> Iterator[tuple[str, int | None]]:
    """Yields the URL of an empty database, and the process of its server if it has one."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        if kind == "sqlite":
            yield f"sqlite:///{Path(folder) / 'fleet.db'}", None
            return
        with postgres_server() as server:
            url = server.create()
            engine = create_engine(url, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:  # durable, unlike in tests
                for name in ("fsync", "full_page_writes"):
                    connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = 'on'")
                connection.exec_driver_sql("SELECT pg_reload_conf()")
                asked = "SELECT pg_read_file('postmaster.pid', 0, 20)"
                pid = int(str(connection.exec_driver_sql(asked).scalar_one()).split()[0])
            engine.dispose()
            yield url, pid


def flush_ms() -> float:
    """Returns how long this machine's disk takes to keep a page for good, the median of forty.

    Claims, results and points of learning curves are committed one after another, so that many in
    a second is the most that the database takes.
    """
    took = []
    with tempfile.TemporaryFile(prefix="fleet-") as file:
        for _ in range(40):
            file.write(bytes(8_192))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(1000 * (time.perf_counter() - began))
    return round(median(took), 2)


def fill(store: SqlStore, fleet: Fleet) -> None:
    """Creates the searches, each with its baseline measured."""
    engine = store._database.engine
    for index in range(fleet.searches):
        spec = SearchSpec.model_validate(
            {
                "name": f"fleet-{index}",
                "space": "nano",
                "proxy": "nano",
                "baseline_repeats": 1,
                "limits": {"trials": 10_000_000},
                "lease_seconds": 300 if fleet.budget > 300 else 60,
                "seed": index,
                "max_attempts": 10,
            }
        )
        store.create_search(spec, actor=ME)
        (lease,) = store.claim(ClaimRequest(worker_id="first", pool="cpu", count=1))
        store.result(lease.lease_id, Result(outcome=Outcome.COMPLETED, measurements=first()))
        with engine.begin() as connection:  # out of the way of the next one's baseline
            connection.execute(update(searches).values(status="completed"))
    with engine.begin() as connection:
        connection.execute(update(searches).values(status="running"))


def first() -> Measurements:
    """Returns what a baseline measures."""
    curve = tuple(
        CurvePoint(
            fraction=part / 8,
            step=part,
            training_seconds=part,
            validation_loss=2.4 + 1 / (2 + part),
        )
        for part in range(9)
    )
    return Measurements(validation_loss=2.4, step_time_ms=20.0, curve=curve)


@contextmanager
def watched(running: list[ControllerProcess], postgres: int | None) -> Iterator[dict[str, float]]:
    """Yields a table that at the end has the cores that each part has used, on average."""
    parts: dict[str, list[psutil.Process]] = {
        "controller": [psutil.Process(each.process.pid) for each in running]
    }
    if postgres is not None:
        parts["database"] = [psutil.Process(postgres)]
    used: dict[str, float] = {}
    over = threading.Event()
    last: dict[int, float] = {}
    start = time.monotonic()

    def look() -> None:
        """Adds what every process has used; one that has ended keeps what was last seen."""
        for name, roots in parts.items():
            for root in roots:
                for each in (root, *root.children(recursive=True)):
                    try:
                        times = each.cpu_times()
                    except psutil.Error:
                        continue
                    spent = times.user + times.system
                    before = last.setdefault(each.pid, spent)
                    used[name] = used.get(name, 0.0) + spent - before
                    last[each.pid] = spent

    def keep_looking() -> None:
        while not over.wait(2.0):
            look()

    look()
    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    table: dict[str, float] = {}
    yield table
    over.set()
    thread.join()
    look()
    elapsed = time.monotonic() - start
    table.update({name: round(seconds / elapsed, 3) for name, seconds in used.items()})


def lost_results(url: str, *seen: dict[str, Any]) -> int:
    """Returns how many receipts for completed candidates the database knows nothing of."""
    told = sum(each["receipts"].get("completed", 0) for each in seen)
    engine = create_engine(url)
    with engine.connect() as connection:
        where = (trials.c.status == "completed", trials.c.kind != "baseline")
        rows = connection.execute(select(func.count()).where(*where)).scalar_one()
        counted = connection.execute(select(func.sum(searches.c.completed))).scalar_one()
        baselines = connection.execute(
            select(func.count()).where(trials.c.status == "completed", trials.c.kind == "baseline")
        ).scalar_one()
    engine.dispose()
    if int(counted) != rows + baselines:
        raise AssertionError(f"counters say {counted} completed trials, rows {rows + baselines}")
    return max(0, told - rows)
