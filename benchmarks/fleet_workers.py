"""The workers of `benchmarks/fleet_simulation.py`, in a process of their own.

Each speaks to a controller as a slot does: it claims with a long poll, keeps the lease alive,
reports points of its learning curve, hands in the result, claims again. Only the training is
simulated: it takes its time and makes up its losses. Some workers are preempted, fail or vanish.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from benchmarks.load_clients import ROOT, Connection, point

POINTS = 8  # of a learning curve
BEATS = 3  # heartbeats in a lease's time, as worker/slot/held_lease.py has it
OVERHEAD = 0.06  # of the budget: compiling, loading, evaluating; its median
WAIT_SECONDS = 20.0  # of a claim
FIRST_PAUSE_SECONDS = 0.5  # after a claim or a result that failed, doubled with every further one
LONGEST_CLAIM_PAUSE, LONGEST_RESULT_PAUSE = 15.0, 30.0  # as worker/slot/ has them
PREEMPTED, VANISHES, FAILS, DIVERGES = 0.02, 0.003, 0.01, 0.01
RESTART_SECONDS = 15.0  # of a worker that was preempted or vanished


@dataclass
class Seen:
    """What all workers have seen."""

    began: float
    ends: float
    latencies_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    outcomes: Counter[str] = field(default_factory=Counter)
    receipts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    busy_seconds: float = 0.0
    waiting_seconds: float = 0.0

    def within(self, start: float, end: float) -> float:
        """Returns how much of an interval lies in the time that is measured."""
        return max(0.0, min(end, self.ends) - max(start, self.began))


class Controllers:
    """Kept connections to each controller; a request takes a free one or opens another."""

    def __init__(self, urls: list[str], secret: str) -> None:
        self._places = [(str(at.hostname), int(at.port or 80)) for at in map(urlsplit, urls)]
        self._secret = secret
        self._free: dict[int, list[Connection]] = defaultdict(list)

    async def ask(self, worker: int, path: str, body: Any) -> tuple[int, Any]:
        """Returns status and answer of a POST to the worker's controller."""
        place = worker % len(self._places)
        free = self._free[place]
        http = free.pop() if free else Connection(*self._places[place], self._secret)
        status, data = await http.ask("POST", path, body)
        free.append(http)
        return status, json.loads(data) if data[:1] == b"{" else None


class Worker:
    """One slot of a fleet."""

    def __init__(
        self, number: int, options: argparse.Namespace, http: Controllers, seen: Seen
    ) -> None:
        self._number = number
        self._options = options
        self._http = http
        self._seen = seen
        self._rng = random.Random(2306_08 + number)
        self._lives = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._outbox: set[asyncio.Task[None]] = set()
        self._fresh = True  # the fleet has been at work for long: a first trial is partly done

    async def run(self) -> None:
        """Works until the time is over."""
        options, rng = self._options, self._rng
        await asyncio.sleep(rng.uniform(0, options.ramp))
        while time.monotonic() < self._seen.ends:
            lease = await self._claim()
            if lease is not None:
                await self._train(lease)

    async def _claim(self) -> dict[str, Any] | None:
        body = {
            "worker_id": f"sim-{self._number}-{self._lives}",
            "pool": "cpu",
            "count": 1,
            "wait_seconds": WAIT_SECONDS,
        }
        began = time.monotonic()
        answer = await self._ask("claim", f"{ROOT}/leases/claim", body)
        leases: list[dict[str, Any]] = [] if answer is None else answer["leases"]
        if not leases and (answer is None or time.monotonic() - began < WAIT_SECONDS / 2):
            await asyncio.sleep(self._rng.uniform(0.5, 1) * self._pause)
            self._pause = min(2 * self._pause, LONGEST_CLAIM_PAUSE)
        else:
            self._pause = FIRST_PAUSE_SECONDS
        self._seen.waiting_seconds += self._seen.within(began, time.monotonic())
        return leases[0] if leases else None

    async def _train(self, lease: dict[str, Any]) -> None:
        rng, budget = self._rng, self._options.budget
        whole = budget * (1 + OVERHEAD * rng.lognormvariate(0, 0.5))
        share = rng.random() if self._fresh else 1.0
        self._fresh = False
        fate = self._fate(lease["kind"])
        lasts = whole * share * (rng.random() if fate in ("preempted", "vanished") else 1.0)
        loss = rng.gauss(2.3, 0.02)
        began = time.monotonic()
        stopped = await self._report(lease, loss, lasts)
        self._seen.busy_seconds += self._seen.within(began, time.monotonic())
        if stopped is not None and stopped["outcome"] == "lost":
            return
        if fate == "vanished":
            self._seen.outcomes["vanished"] += 1
        else:
            result = self._result(fate if stopped is None else stopped["outcome"], loss)
            await self._hand_in(lease, result)
        if fate in ("vanished", "preempted"):
            self._lives += 1
            await asyncio.sleep(RESTART_SECONDS)  # nobody's worker meanwhile: not counted

    def _fate(self, kind: str) -> str:
        draw = self._rng.random()
        if kind == "baseline" or not self._options.mishaps:
            return "completed"
        for name, share in (
            *(("preempted", PREEMPTED), ("vanished", VANISHES)),
            *(("error", FAILS), ("diverged", DIVERGES)),
        ):
            if draw < share:
                return name
            draw -= share
        return "completed"

    async def _report(self, lease: dict[str, Any], loss: float, lasts: float) -> Any:
        """Returns why the trial was stopped; None once it is over."""
        if lasts <= 0:
            return None
        path = f"{ROOT}/leases/{lease['lease_id']}/progress"
        began = time.monotonic()
        for moment, part in moments_of(lasts, lease["lease_seconds"] / BEATS):
            await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
            if time.monotonic() > self._seen.ends:
                return {"outcome": "lost"}
            body: dict[str, Any] = {"phase": "alive"}
            if part:
                body = {"point": point(part, loss), "step_time_ms": 20.0}
            answer = await self._ask("progress", path, body)
            if answer is not None and answer["action"] == "stop":
                return {"outcome": answer.get("outcome") or "pruned"}
        await asyncio.sleep(max(0.0, began + lasts - time.monotonic()))
        return None

    def _result(self, outcome: str, loss: float) -> dict[str, Any]:
        if outcome not in ("completed", "pruned"):
            return {"outcome": outcome, "message": "simulated"}
        measured = {
            "validation_loss": loss,
            "bits_per_byte": loss * 1.4427,
            "step_time_ms": 20.0,
            "steps": 1000,
            "training_seconds": float(self._options.budget),
            "utilisation": 0.94,
            "curve": [point(part, loss) for part in range(POINTS + 1)],
        }
        return {"outcome": outcome, "measurements": measured}

    async def _hand_in(self, lease: dict[str, Any], result: dict[str, Any]) -> None:
        """Delivers the result; one that is not taken is tried again later, beside other work."""
        began = time.monotonic()
        delivered = await self._deliver(lease, result)
        self._seen.waiting_seconds += self._seen.within(began, time.monotonic())
        if not delivered:
            task = asyncio.create_task(self._deliver_later(lease, result))
            self._outbox.add(task)
            task.add_done_callback(self._outbox.discard)

    async def _deliver(self, lease: dict[str, Any], result: dict[str, Any]) -> bool:
        """Returns whether the result needs no further delivery."""
        path = f"{ROOT}/leases/{lease['lease_id']}/result"
        status, receipt = await self._asked("result", path, result)
        if receipt is not None:
            self._seen.outcomes[result["outcome"]] += 1
            self._seen.receipts[receipt["status"]] += 1
        return status is not None and status < 500

    async def _deliver_later(self, lease: dict[str, Any], result: dict[str, Any]) -> None:
        pause = FIRST_PAUSE_SECONDS
        while time.monotonic() < self._seen.ends:
            await asyncio.sleep(pause)
            if await self._deliver(lease, result):
                return
            pause = min(2 * pause, LONGEST_RESULT_PAUSE)

    async def _ask(self, name: str, path: str, body: Any) -> Any:
        """Returns the answer, or None if there was none that helps."""
        return (await self._asked(name, path, body))[1]

    async def _asked(self, name: str, path: str, body: Any) -> tuple[int | None, Any]:
        """Returns status and answer, None without a good one; notes time and error."""
        began = time.monotonic()
        try:
            status, answer = await self._http.ask(self._number, path, body)
        except (OSError, asyncio.IncompleteReadError) as error:
            self._seen.errors[f"{name}: {type(error).__name__}"] += 1
            return None, None
        if status >= 400:
            code = (answer or {}).get("code", "")
            self._seen.errors[f"{name}: {status} {code}"] += 1
            return status, None
        granted = name != "claim" or bool(answer["leases"])
        if granted and self._seen.began <= began <= self._seen.ends:
            self._seen.latencies_ms[name].append(1000 * (time.monotonic() - began))
        return status, answer


def moments_of(lasts: float, beat: float) -> list[tuple[float, int]]:
    """Returns when a trial reports, in seconds, and which point of its curve; 0 for a heartbeat.

    Args:
        lasts: The trial.
        beat: After which time without another report a heartbeat goes out.
    """
    moments: list[tuple[float, int]] = []
    last = 0.0
    for part in range(1, POINTS + 1):
        due = lasts * part / POINTS
        while last + beat < due:
            last += beat
            moments.append((last, 0))
        if part < POINTS:
            moments.append((due, part))
            last = due
    return moments


async def run(options: argparse.Namespace) -> Seen:
    """Runs all workers to the end."""
    begins = time.monotonic() + options.ramp
    seen = Seen(began=begins, ends=begins + options.seconds)
    http = Controllers(options.url, options.secret)
    workers = [Worker(number, options, http, seen) for number in range(options.workers)]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    await asyncio.wait(tasks, timeout=max(0.0, seen.ends - time.monotonic()) + 5)
    await asyncio.sleep(2)  # answers on their way
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception():
            seen.errors[repr(task.exception())] += 1
        task.cancel()
    return seen


def main() -> None:
    """Reads the options, runs the workers, prints what they saw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", action="append", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--budget", type=float, required=True)
    parser.add_argument("--ramp", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--mishaps", action="store_true")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()
    processor = time.process_time()
    seen = asyncio.run(run(options))
    told = {
        "latencies_ms": seen.latencies_ms,
        "outcomes": seen.outcomes,
        "receipts": seen.receipts,
        "errors": seen.errors,
        "busy_seconds": seen.busy_seconds,
        "waiting_seconds": seen.waiting_seconds,
        "processor_seconds": time.process_time() - processor,
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
