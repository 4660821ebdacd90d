"""The controller under load: 100,000 trials, 50 clients at once, the dashboard open.

Fifty clients (40 read every endpoint in turn by chance, 10 work as dispatchers do: claim, two
progress reports, result) each think one second on average between an answer and the next request; a
dashboard's event stream and polling come on top. Clients run in a process of their own on the same
machine. The bar: p99 of each read endpoint, of claim and of result at most 100 ms, no error.

Afterwards the same clients with twice the pause, and without any, show how it goes with the load.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
from sqlalchemy import create_engine, make_url

from benchmarks.against import REPOSITORY, of_tree
from benchmarks.large_search import build
from benchmarks.report import report
from brainformer.search.sql.store import open_store
from brainformer.search.store.actor import Actor
from tests.api.controller_process import controller_process
from tests.postgres import postgres_server

BAR_MS = 100.0
READERS, WORKERS = 40, 10


def main() -> None:
    """Builds the database, loads the controller, reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--think", type=float, default=1.0)
    parser.add_argument("--file", type=Path, help="a SQLite file built before; kept, and changed")
    parser.add_argument(
        "--clients", type=Path, default=REPOSITORY, help="the tree whose clients ask"
    )
    parser.add_argument("--try", dest="trying", action="store_true", help="keep no result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="api-load-") as folder:
        if options.database == "postgresql":
            with postgres_server() as server:
                measure(server.create(), options)
        else:
            file = options.file or Path(folder) / "load.db"
            measure(f"sqlite:///{file}", options)


def measure(url: str, options: argparse.Namespace) -> None:
    """Runs the two phases on one database and reports them."""
    began = time.perf_counter()
    search_id = found_or_built(url, options.trials)
    print(f"{options.trials:,} trials ready in {time.perf_counter() - began:.0f} s", flush=True)
    store = open_store(url)
    _, secret = store.create_token(
        "load", ["admin"], expires_in_seconds=86_400, actor=Actor(name="benchmark")
    )
    store.close()
    with controller_process(url, claims_per_second=100_000, log_level="warning") as controller:
        load = Load(controller.url, secret, search_id, options)
        load.run(think=options.think, seconds=5)  # connections, caches, the surrogate's first fit
        calm = load.run(think=options.think, seconds=options.seconds)
        half = load.run(think=2 * options.think, seconds=options.seconds / 2)
        busy = load.run(think=0.0, seconds=min(20.0, options.seconds))
        export = load.export_seconds()
    locked = [line for line in controller.log if "lock" in json.dumps(line)]
    tell(calm, half, busy, export, locked, options)


def found_or_built(url: str, count: int) -> str:
    """Returns the id of the large search, built unless the file holds it."""
    store = open_store(url)
    try:
        found = [item for item in store.list_searches().items if item.name == "large"]
    finally:
        store.close()
    if found:
        return found[0].id
    made = build(url, count=count)
    if make_url(url).get_backend_name() == "postgresql":
        _as_after_a_week(url)
    return made


def _as_after_a_week(url: str) -> None:
    """Gives PostgreSQL the statistics that it has of a search that grew; else it starts then."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")
    engine.dispose()


class Load:
    """Runs the clients' process against one controller."""

    def __init__(self, url: str, secret: str, search_id: str, options: argparse.Namespace) -> None:
        self.url = url
        self.secret = secret
        self.search_id = search_id
        self.trials = options.trials
        self.clients = options.clients

    def run(self, *, think: float, seconds: float) -> dict[str, Any]:
        """Returns what the clients saw, with the requests a second."""
        at = urlsplit(self.url)
        command = [
            *(sys.executable, "-m", "benchmarks.load_clients"),
            *("--host", str(at.hostname), "--port", str(at.port), "--secret", self.secret),
            *("--search", self.search_id, "--trials", str(self.trials)),
            *("--readers", str(READERS), "--workers", str(WORKERS), "--dashboard"),
            *("--think", str(think), "--seconds", str(seconds)),
        ]
        ended = subprocess.run(
            command,
            cwd=self.clients,
            env=of_tree(self.clients),
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(ended.stderr[-2000:])
        seen: dict[str, Any] = json.loads(ended.stdout)
        total = sum(len(times) for times in seen["latencies_ms"].values())
        seen["requests_per_second"] = total / seconds
        return seen

    def export_seconds(self) -> dict[str, float]:
        """Returns the time to the first byte and to the last of the export of all trials."""
        headers = {"Authorization": f"Bearer {self.secret}"}
        path = f"{self.url}/api/v1/searches/{self.search_id}/trials.jsonl"
        began = time.perf_counter()
        first, size = 0.0, 0
        with httpx2.stream("GET", path, headers=headers, timeout=600, trust_env=False) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                first = first or time.perf_counter() - began
                size += len(part)
        whole = time.perf_counter() - began
        return {"first_byte_ms": 1000 * first, "seconds": whole, "megabytes": size / 1e6}


def tell(
    calm: dict[str, Any],
    half: dict[str, Any],
    busy: dict[str, Any],
    export: dict[str, float],
    locked: list[Any],
    options: argparse.Namespace,
) -> None:
    """Prints a table and the result."""
    rows = summary(calm["latencies_ms"])
    print(f"{'operation':<32}{'requests':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, row in rows.items():
        cells = f"{row['p50_ms']:>9.1f}{row['p99_ms']:>9.1f}{row['max_ms']:>9.1f}"
        print(f"{name:<32}{row['requests']:>9}{cells}")
    for line in [*calm["errors"], *half["errors"], *busy["errors"]][:10]:
        print("error:", line)
    worst = max(rows, key=lambda name: rows[name]["p99_ms"])
    errors = sum(len(seen["errors"]) for seen in (calm, half, busy)) + len(locked)
    report(
        name="api-load",
        value=round(rows[worst]["p99_ms"], 1),
        unit="ms, p99 of the slowest operation",
        target="at most 100 ms with 100,000 trials and 50 clients, no error",
        ok=rows[worst]["p99_ms"] <= BAR_MS and errors == 0 and options.trials >= 100_000,
        details={
            "database": options.database,
            "trials": options.trials,
            "clients": {"readers": READERS, "workers": WORKERS, "dashboards": 1},
            "think_seconds": options.think,
            "seconds": options.seconds,
            "requests_per_second": round(calm["requests_per_second"], 1),
            "errors": errors,
            "slowest": worst,
            "events_received": calm["events"],
            "operations": rows,
            "all_together": overall(calm),
            "thinking_twice_as_long": overall(half),
            "without_thinking": overall(busy),
            "export": {name: round(value, 1) for name, value in export.items()},
        },
        keep=not options.trying,
    )


def overall(seen: dict[str, Any]) -> dict[str, float]:
    """Returns the figures of all operations together, and p99 of the slowest one."""
    times = [value for one in seen["latencies_ms"].values() for value in one]
    return {
        "requests_per_second": round(seen["requests_per_second"], 1),
        "p50_ms": round(float(np.percentile(times, 50)), 1),
        "p99_ms": round(float(np.percentile(times, 99)), 1),
        "slowest_p99_ms": max(row["p99_ms"] for row in summary(seen["latencies_ms"]).values()),
    }


def summary(latencies: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Returns requests, p50, p99 and maximum of each operation, the slowest first."""
    rows = {
        name: {
            "requests": len(times),
            "p50_ms": round(float(np.percentile(times, 50)), 1),
            "p99_ms": round(float(np.percentile(times, 99)), 1),
            "max_ms": round(max(times), 1),
        }
        for name, times in latencies.items()
    }
    return dict(sorted(rows.items(), key=lambda item: -item[1]["p99_ms"]))


if __name__ == "__main__":
    main()
