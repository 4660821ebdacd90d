"""Claims among thousands of open searches, each of which could be served.

`python -m benchmarks.many_searches [--searches 5000] [--claims 500] [--profile]`
Every search is open and has work, on SQLite in a file; a claim must find the one with the fewest
running trials without reading them all. `value` is the 99th percentile of a claim, in milliseconds.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.report import report
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.store import SqlStore, open_store
from brainformer.search.store.actor import Actor
from brainformer.search.trials.lease_messages import ClaimRequest, Result
from brainformer.search.trials.trial import Measurements, Outcome

MOST_MS = 50.0
SPEC: dict[str, Any] = {
    "space": "nano",
    "limits": {"trials": 1000},
    "population_size": 10,
    "tournament_size": 3,
    "baseline_repeats": 1,
    "confirmations": 0,
    "screening": {"kind": "none"},
    "proxy": {"experts": 8, "head_dim": 16, "sequence_length": 64, "batch_size": 16},
}
DONE = Result(
    outcome=Outcome.COMPLETED, measurements=Measurements(validation_loss=2.0, step_time_ms=20.0)
)


def fill(store: SqlStore, count: int) -> None:
    """Opens so many searches."""
    me = Actor(name="benchmark")
    for number in range(count):
        spec = SearchSpec.model_validate(SPEC | {"name": f"s-{number}", "seed": number})
        store.create_search(spec, actor=me)


def timed_claims(store: SqlStore, count: int) -> tuple[list[float], list[float]]:
    """Returns how long each of so many claims took, and how much processor time, in milliseconds.

    Every other one is followed by a result, so that searches differ in how many trials they run.
    """
    found, busy = [], []
    for number in range(count):
        request = ClaimRequest(worker_id=f"w-{number % 50}", pool="cpu")
        began, used = time.perf_counter(), time.thread_time()
        leases = store.claim(request)
        found.append(1000 * (time.perf_counter() - began))
        busy.append(1000 * (time.thread_time() - used))
        if number % 2:
            store.result(leases[0].lease_id, DONE)
    return found, busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=5000)
    parser.add_argument("--claims", type=int, default=500)
    parser.add_argument("--profile", action="store_true", help="tell where the time goes")
    given = parser.parse_args()
    threadpool_limits(1)
    with tempfile.TemporaryDirectory(prefix="many-") as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'search.db'}")
        fill(store, given.searches)
        timed_claims(store, 20)
        gc.collect()
        gc.freeze()  # as the controller does
        profile = cProfile.Profile()
        if given.profile:
            profile.enable()
        found, busy = timed_claims(store, given.claims)
        profile.disable()
        store.close()
    if given.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(35)
    p50, p99 = (float(np.percentile(found, share)) for share in (50, 99))
    busy99 = float(np.percentile(busy, 99))
    print("| searches | p50 | p99 | p99 of processor time |\n| --- | --- | --- | --- |")
    print(f"| {given.searches} | {p50:.1f} ms | {p99:.1f} ms | {busy99:.1f} ms |")
    report(
        name="many-searches",
        value=round(p99, 2),
        unit="ms",
        target=f"p99 of a claim at most {MOST_MS:.0f} ms with 5,000 open searches on SQLite",
        ok=p99 <= MOST_MS if given.searches >= 5000 else None,
        details={
            "searches": given.searches,
            "claims": given.claims,
            "p50_ms": round(p50, 2),
            "processor_p99_ms": round(busy99, 2),
        },
        keep=given.searches >= 5000 and not given.profile,
    )


if __name__ == "__main__":
    main()
