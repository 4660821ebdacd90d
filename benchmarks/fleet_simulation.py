"""A fleet on one database: real controllers, real leases over HTTP, simulated trials.

Thousands of workers claim, report and hand in as slots do; preemptions, failures and workers that
vanish are among them (benchmarks/fleet_workers.py). The measured time begins when all have started.
Used is the share of the workers' time in which they trained, against waiting for a lease or for a
receipt. Then as many trials as possible are pushed through, each of no length at all: that many a
second is the most that the controller takes, whatever the trials' length.

    python -m benchmarks.fleet_simulation                       the three fleets that have a bar
    python -m benchmarks.fleet_simulation --fleet 10000         one of them, in eight minutes
    python -m benchmarks.fleet_simulation --sweep               up to 10,000 workers, 5,000 searches
    python -m benchmarks.fleet_simulation --workers 500 --budget 30 --searches 10 --seconds 60
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sqlalchemy import create_engine, func, select, update

from benchmarks.report import report
from brainformer.api.connections import RESERVED_FILES
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.connection.tables import searches, trials
from brainformer.search.sql.store import SqlStore, open_store
from brainformer.search.store.actor import Actor
from brainformer.search.trials.lease_messages import ClaimRequest, Result
from brainformer.search.trials.trial import CurvePoint, Measurements, Outcome
from tests.api.controller_process import ControllerProcess, controller_process
from tests.postgres import postgres_server

ME = Actor(name="benchmark")
PUSHERS = 16


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
        """Seconds over which the workers start."""
        return self.ramp_seconds or max(10.0, self.workers / 60)


BARS = {
    "1000": Fleet(1_000, 60, claim_bar_ms=200, used_bar=0.99),
    "10000": Fleet(10_000, 600, claim_bar_ms=200, used_bar=0.99),
    "searches": Fleet(100, 60, searches=1_000, seconds=120, claim_bar_ms=50),
}
SWEEP = (
    *(Fleet(count, 60, seconds=120) for count in (10, 100, 1_000)),
    Fleet(10_000, 600, seconds=120),
    *(Fleet(100, 60, searches=count, seconds=60) for count in (10, 100, 1_000, 5_000)),
)


def main() -> None:
    options = _options()
    fleets = fleets_of(options)
    rows = []
    for fleet in fleets:
        rows.append(simulate(fleet, options))
        tell(rows[-1])
    missed = [row["fleet"] for row in rows if not row["ok"]]
    worst = max(row["claim_p99_ms"] for row in rows)
    report(
        name="fleet-simulation",
        value=round(worst, 1),
        unit="ms, p99 of a claim, the worst of the fleets",
        target="1,000 workers x 60 s and 10,000 x 600 s: 99% used, 200 ms; 1,000 searches: 50 ms; "
        "every result recorded once",
        ok=not missed if not options.workers else None,
        details={
            "database": options.database,
            "controllers": options.controllers,
            "missed": missed,
            "fleets": rows,
        },
        keep=not options.trying,
    )


def fleets_of(options: argparse.Namespace) -> tuple[Fleet, ...]:
    """Returns the fleets that are asked for."""
    if options.workers:
        own = Fleet(options.workers, options.budget, options.searches, options.seconds)
        return (replace(own, ramp_seconds=options.ramp),)
    if options.fleet:
        return (BARS[options.fleet],)
    return SWEEP if options.sweep else tuple(BARS.values())


def simulate(fleet: Fleet, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the figures of one fleet, on a database of its own."""
    with database(options.database) as (url, postgres), ExitStack() as stack:
        store = open_store(url)
        fill(store, fleet)
        _, secret = store.create_token("fleet", ["worker"], expires_in_seconds=86_400, actor=ME)
        store.close()
        running = [
            stack.enter_context(controller_process(url, **limits(fleet)))
            for _ in range(options.controllers)
        ]
        with watched(running, postgres) as at_work:
            seen = run_workers(running, secret, fleet, "--mishaps")
        with watched(running, postgres) as at_most:
            push = Fleet(PUSHERS, 0, seconds=options.push_seconds)
            pushed = run_workers(running, secret, push)
        lost = lost_results(url, seen, pushed)
    return judge(fleet, seen, pushed, at_work, at_most, lost)


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


def run_workers(
    running: list[ControllerProcess], secret: str, fleet: Fleet, *flags: str
) -> dict[str, Any]:
    """Returns what the workers saw."""
    command = [sys.executable, "-m", "benchmarks.fleet_workers", "--secret", secret, *flags]
    for controller in running:
        command += ["--url", controller.url]
    numbers = {"workers": fleet.workers, "budget": fleet.budget, "seconds": fleet.seconds}
    for name, value in (*numbers.items(), ("ramp", fleet.ramp if fleet.budget else 1.0)):
        command += [f"--{name}", str(value)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr[-2000:])
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


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


def judge(
    fleet: Fleet,
    seen: dict[str, Any],
    pushed: dict[str, Any],
    at_work: dict[str, float],
    at_most: dict[str, float],
    lost: int,
) -> dict[str, Any]:
    """Returns the figures of a fleet."""
    operations = {name: quantiles(times) for name, times in seen["latencies_ms"].items()}
    spent = seen["busy_seconds"] + seen["waiting_seconds"]
    used = seen["busy_seconds"] / spent if spent else 0.0
    p99 = operations["claim"]["p99_ms"]
    ok = lost == 0
    if fleet.claim_bar_ms is not None:
        ok &= p99 <= fleet.claim_bar_ms
    if fleet.used_bar is not None:
        ok &= used >= fleet.used_bar
    ended = len(seen["latencies_ms"].get("result", ()))
    most = len(pushed["latencies_ms"].get("result", ()))
    push_seconds = max(1e-9, pushed["busy_seconds"] + pushed["waiting_seconds"]) / PUSHERS
    per_second = most / push_seconds
    return {
        "fleet": fleet.name,
        "ok": ok,
        "used": round(used, 5),
        "claim_p99_ms": p99,
        "operations": operations,
        "trials_per_second": round(ended / fleet.seconds, 2),
        "most_trials_per_second": round(per_second, 1),
        "outcomes": seen["outcomes"],
        "errors": {**seen["errors"], **pushed["errors"]},
        "lost": lost,
        "cores": at_work,
        "cores_at_most": at_most,
        "workers_cores_at_most": round(pushed["processor_seconds"] / push_seconds, 3),
    }


def quantiles(times: list[float]) -> dict[str, float]:
    """Returns count, p50, p99 and maximum."""
    p50, p99 = (round(float(np.percentile(times, q)), 1) for q in (50, 99))
    return {"count": len(times), "p50_ms": p50, "p99_ms": p99, "max_ms": round(max(times), 1)}


def tell(row: dict[str, Any]) -> None:
    """Prints one fleet's figures."""
    print(f"\n{row['fleet']}: {'within its bar' if row['ok'] else 'MISSED'}")
    print(f"  used {row['used']:.4f}, {row['trials_per_second']} trials/s, cores {row['cores']}")
    print(f"  {'':<10}{'count':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, one in row["operations"].items():
        cells = "".join(f"{one[key]:>9}" for key in ("count", "p50_ms", "p99_ms", "max_ms"))
        print(f"  {name:<10}{cells}")
    print(
        f"  at most {row['most_trials_per_second']} trials a second, with cores "
        f"{row['cores_at_most']}, the workers' own {row['workers_cores_at_most']}"
    )
    print(f"  outcomes {row['outcomes']}, errors {row['errors']}, lost {row['lost']}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--controllers", type=int, default=1)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--fleet", choices=BARS, help="only this one of those that have a bar")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--ramp", type=float, help="seconds over which --workers start")
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--searches", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--push-seconds", type=float, default=20)
    parser.add_argument("--try", dest="trying", action="store_true", help="keep no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
