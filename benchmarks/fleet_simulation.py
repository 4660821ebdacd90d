"""A fleet on one database: real controllers, real leases over HTTP, simulated trials.

Thousands of workers claim, report and hand in as slots do; preemptions, failures and workers that
vanish are among them (benchmarks/fleet_workers.py). The measured time begins when all have started.
Used is the share of the workers' time in which they trained, against waiting for a lease or for a
receipt. Then as many trials as possible are pushed through, each of no length at all: that many a
second is the most that the controller takes, whatever the trials' length.

    python -m benchmarks.fleet_simulation                       the three fleets that have a bar
    python -m benchmarks.fleet_simulation --fleet 10000         one of them, in twelve minutes
    python -m benchmarks.fleet_simulation --sweep               up to 10,000 workers, 5,000 searches
    python -m benchmarks.fleet_simulation --workers 500 --budget 30 --searches 10 --seconds 60
    python -m benchmarks.fleet_simulation --workers 1000 --ramp 15      faster than it can be served
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.fleet_stage import (
    ME,
    PUSHERS,
    Fleet,
    database,
    fill,
    flush_ms,
    limits,
    lost_results,
    watched,
)
from benchmarks.report import report
from brainformer.search.sql.store import open_store
from tests.api.controller_process import ControllerProcess, controller_process

LATE_SECONDS = 180.0  # that workers may need beyond their time to tell what they saw
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
    return {**judge(fleet, seen, pushed, at_work, at_most, lost), "flush_ms": flush_ms()}


def run_workers(
    running: list[ControllerProcess], secret: str, fleet: Fleet, *flags: str
) -> dict[str, Any]:
    """Returns what the workers saw.

    Raises:
        RuntimeError: they failed, or did not come to their end.
    """
    command = [sys.executable, "-m", "benchmarks.fleet_workers", "--secret", secret, *flags]
    for controller in running:
        command += ["--url", controller.url]
    ramp = fleet.ramp if fleet.budget else 1.0
    numbers = {"workers": fleet.workers, "budget": fleet.budget, "seconds": fleet.seconds}
    for name, value in (*numbers.items(), ("ramp", ramp)):
        command += [f"--{name}", str(value)]
    longest = ramp + fleet.seconds + LATE_SECONDS
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=longest
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(
            f"{fleet.name}: the workers have not ended after {longest:.0f} s"
        ) from None
    if ended.returncode:
        raise RuntimeError(ended.stderr[-2000:])
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


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
    barred = fleet.claim_bar_ms is not None or fleet.used_bar is not None
    return {
        "fleet": fleet.name,
        "ok": ok,
        "verdict": ("within its bar" if barred else "no bar, nothing lost") if ok else "MISSED",
        "used": round(used, 5),
        "claim_p99_ms": p99,
        "operations": operations,
        "trials_per_second": round(ended / fleet.seconds, 2),
        "most_trials_per_second": round(per_second, 1),
        "outcomes": seen["outcomes"],
        "errors": {**seen["errors"], **pushed["errors"]},
        "lost": lost,
        "cores": {
            **at_work,
            "workers": round(seen["processor_seconds"] / (fleet.ramp + fleet.seconds), 3),
        },
        "cores_at_most": at_most,
        "workers_cores_at_most": round(pushed["processor_seconds"] / push_seconds, 3),
    }


def quantiles(times: list[float]) -> dict[str, float]:
    """Returns count, p50, p99 and maximum."""
    p50, p99 = (round(float(np.percentile(times, q)), 1) for q in (50, 99))
    return {"count": len(times), "p50_ms": p50, "p99_ms": p99, "max_ms": round(max(times), 1)}


def tell(row: dict[str, Any]) -> None:
    """Prints one fleet's figures."""
    print(f"\n{row['fleet']}: {row['verdict']}")
    print(f"  used {row['used']:.4f}, {row['trials_per_second']} trials/s, cores {row['cores']}")
    print(f"  {'':<10}{'count':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, one in row["operations"].items():
        cells = "".join(f"{one[key]:>9}" for key in ("count", "p50_ms", "p99_ms", "max_ms"))
        print(f"  {name:<10}{cells}")
    print(
        f"  at most {row['most_trials_per_second']} trials a second, with cores "
        f"{row['cores_at_most']}, the workers' own {row['workers_cores_at_most']}"
    )
    print(f"  the disk keeps a page in {row['flush_ms']} ms")
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
