"""What a trial loses when its worker gets SIGTERM: the slot's time beyond an undisturbed run's.

Two workers of one slot each, every one on a core of its own, run repeats of one block that really
train. In most of them the worker gets SIGTERM at a random moment, at any stage of the trial, ends,
is started again and goes on from the checkpoint. Lost is what the attempts together occupied the
slot for, from claim to result, beyond what undisturbed runs of the same block needed; the time in
which there was no worker is not the trial's. The wall clock decides the budget, so a trial that
trains anything twice takes that much longer.

    python -m benchmarks.preemption_loss [--moments 10] [--budget 60] [--try]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import httpx2

from benchmarks.report import report
from tests.api.controller_process import controller_process
from tests.worker.stack import search_spec

WORKERS = 2
UNDISTURBED = 3  # runs of each worker; the first compiles for all, and does not count
LONGEST_WAIT_SECONDS = 600.0
LEASE_SECONDS = 60.0
CLI = [sys.executable, "-P", "-m", "brainformer.api.cli.main"]


class Loss(NamedTuple):
    """One preemption.

    Attributes:
        moment: Seconds from the claim to SIGTERM.
        message: What the first attempt ended with.
        occupied: Seconds that all attempts together held the slot.
        trained: Steps of the first attempt.
        kept: Of them, those in the checkpoint that it left.
        steps: Of the whole trial.
    """

    moment: float
    message: str
    occupied: float
    trained: int
    kept: int
    steps: int


class Worker:
    """A worker of one slot and its pool, on one core."""

    def __init__(self, number: int, url: str, folder: Path) -> None:
        self.pool = f"cpu-{number}"
        cores = sorted(os.sched_getaffinity(0))
        command = ["taskset", "-c", str(cores[number % len(cores)]), *CLI, "worker"]
        command += ["--pool", self.pool, "--slots", "1", "--url", url]
        self._state = folder / self.pool
        self._command = [*command, "--state-folder", str(self._state)]
        self._log = folder / f"{self.pool}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def kept_steps(self) -> int:
        """Returns the steps in the checkpoint that is there; 0 without one."""
        found = list((self._state / "checkpoints").glob("*/progress.json"))
        return max((int(json.loads(one.read_text())["steps"]) for one in found), default=0)

    def start(self) -> None:
        """Starts it, whose last process has ended."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def terminate(self) -> None:
        """Ends it by SIGTERM; raises if it does not come to an end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)


class Rest:
    """What the controller knows of the search."""

    def __init__(self, url: str, search_id: str) -> None:
        self._http = httpx2.Client(base_url=f"{url}/api/v1", timeout=60, trust_env=False)
        self._search = f"/searches/{search_id}"

    def trials(self, pool: str, status: str) -> list[dict[str, Any]]:
        """Returns the pool's trials of a status, in the order of their numbers."""
        query = {"pool": pool, "status": status, "limit": 500}
        answer = self._http.get(f"{self._search}/trials", params=query).raise_for_status()
        return list(answer.json()["items"])

    def attempts(self, number: int) -> list[dict[str, Any]]:
        """Returns a trial's attempts, oldest first."""
        answer = self._http.get(f"{self._search}/trials/{number}").raise_for_status()
        return [one for one in answer.json()["attempts"] if one["finished_at"]]


def hit(
    worker: Worker, rest: Rest, moments: int, undisturbed: int, rng: random.Random
) -> tuple[list[float], list[Loss]]:
    """Returns what undisturbed runs occupied the slot for, and what preempted ones did."""
    worker.start()
    try:
        wait_for(lambda: len(rest.trials(worker.pool, "completed")) >= undisturbed)
        quiet = [occupied(rest, one["number"]) for one in rest.trials(worker.pool, "completed")]
        length = mean(quiet[1:undisturbed])
        losses = []
        for _ in range(moments):
            losses.append(preempt(worker, rest, rng.uniform(0, length)))
            print(f"  {worker.pool}: {losses[-1]}", flush=True)
        return quiet[1:undisturbed], losses
    finally:
        worker.terminate()


def preempt(worker: Worker, rest: Rest, moment: float) -> Loss:
    """Ends the worker so many seconds after its next claim; returns what that cost."""
    before = len(rest.trials(worker.pool, "completed"))
    (running,) = wait_for(lambda: rest.trials(worker.pool, "running"))
    claimed = datetime.fromisoformat(running["started_at"]).timestamp()
    time.sleep(max(0.0, claimed + moment - time.time()))
    moment = time.time() - claimed
    worker.terminate()
    kept, number = worker.kept_steps(), running["number"]
    worker.start()
    wait_for(lambda: len(rest.trials(worker.pool, "completed")) > before)
    (ended,) = [one for one in rest.trials(worker.pool, "completed") if one["number"] == number]
    first = rest.attempts(number)[0]
    return Loss(
        round(moment, 2),
        first["message"],
        round(occupied(rest, number), 2),
        int((re.search(r"after (\d+) steps", first["message"]) or [0, 0])[1]),
        kept,
        int(ended["measurements"]["steps"]),
    )


def occupied(rest: Rest, number: int) -> float:
    """Returns the seconds between claim and result, of all attempts together."""
    return sum(
        (
            datetime.fromisoformat(one["finished_at"]) - datetime.fromisoformat(one["started_at"])
        ).total_seconds()
        for one in rest.attempts(number)
    )


def wait_for(question: Any) -> Any:
    """Returns the answer once it is one; raises TimeoutError after ten minutes."""
    end = time.monotonic() + LONGEST_WAIT_SECONDS
    while time.monotonic() < end:
        found = question()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError("nothing came of it")


@contextmanager
def search(folder: Path, repeats: int, budget: float) -> Iterator[tuple[str, str]]:
    """Yields a controller's address and the id of a search that repeats its baseline so often."""
    spec = search_spec("preempted", trials=1, budget_seconds=budget, baseline_repeats=repeats)
    spec["proxy"] |= {"clock": "wall"}
    spec |= {"lease_seconds": LEASE_SECONDS, "max_attempts": 10, "baseline": "glam"}
    with controller_process(f"sqlite:///{folder / 'search.db'}", log_level="warning") as one:
        made = httpx2.post(f"{one.url}/api/v1/searches", json=spec, trust_env=False)
        if not made.is_success:
            raise ValueError(made.text)
        yield one.url, str(made.json()["id"])


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=10, help="SIGTERMs, of both workers")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds that a trial trains")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--try", dest="trying", action="store_true", help="keep no result")
    options = parser.parse_args()
    each = options.moments // WORKERS
    with (
        tempfile.TemporaryDirectory(prefix="preempted-") as folder,
        search(Path(folder), each + UNDISTURBED + 1, options.budget) as (url, search_id),
        ThreadPoolExecutor(WORKERS) as threads,
    ):
        running = [
            threads.submit(
                hit,
                Worker(number, url, Path(folder)),
                Rest(url, search_id),
                each,
                UNDISTURBED,
                random.Random(options.seed + number),
            )
            for number in range(WORKERS)
        ]
        found = [one.result() for one in running]
    quiet = [seconds for undisturbed, _ in found for seconds in undisturbed]
    rows = sorted(
        (loss, round((loss.occupied - mean(undisturbed)) / options.budget, 4))
        for undisturbed, losses in found
        for loss in losses
    )
    tell(quiet, rows)
    worst = max(share for _, share in rows)
    report(
        name="preemption-loss",
        value=round(100 * worst, 2),
        unit="% of the budget, the worst of the moments",
        target="at most 10%",
        ok=worst <= 0.1,
        details={
            "budget_seconds": options.budget,
            "undisturbed_seconds": [round(one, 2) for one in quiet],
            "mean_percent": round(100 * mean(share for _, share in rows), 2),
            "steps_trained_twice": sum(loss.trained - loss.kept for loss, _ in rows),
            "moments": [
                {**loss._asdict(), "lost_percent": round(100 * share, 2)} for loss, share in rows
            ],
        },
        keep=not options.trying,
    )


def tell(quiet: list[float], rows: list[tuple[Loss, float]]) -> None:
    """Prints the table."""
    print(f"undisturbed: {', '.join(f'{one:.1f} s' for one in quiet)}")
    print(f"{'SIGTERM after':>14}{'lost of the budget':>20}  the first attempt")
    for loss, share in rows:
        print(f"{loss.moment:>12.1f} s{share:>19.2%}  {loss.message}; {loss.kept} kept")


if __name__ == "__main__":
    main()
