"""Kills controller, dispatcher and trials at random and at named points; nothing may be lost.

`python -m benchmarks.chaos [--kills N] [--minutes M] [--database sqlite|postgres|both]`
After the kills the search is stopped, and what the database holds is compared with what can be
recomputed from the trials and with every receipt that the controller ever gave.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import psutil

from benchmarks.chaos_stage import (
    BEFORE_DISPATCH,
    BEFORE_RECEIPT,
    BEFORE_RECORD,
    Controller,
    Dispatcher,
    Proxy,
    wait_for,
)
from benchmarks.report import report
from brainformer.search.sql.store import open_store
from brainformer.search.status import SearchStatus
from brainformer.search.trials.trial import TrialStatus
from tests.postgres import PostgresServer, postgres_server
from tests.search.store.audit import all_trials, check_everything

RANDOM = "at random"
TARGET_KILLS = 200
SPEC = {
    "name": "chaos",
    "space": "nano",
    "limits": {"trials": 1_000_000},
    "population_size": 20,
    "tournament_size": 5,
    "baseline_repeats": 1,
    "confirmations": 0,
    "screening": {"kind": "none"},
    "step_time_slack": None,
    "hurdle": False,
    "lease_seconds": 5,
    "max_attempts": 100,
    "proxy": {"experts": 8, "head_dim": 16, "sequence_length": 64, "budget_seconds": 0.1},
}
# Of every twenty kills; a dispatcher brings up a whole Ray, so that its share is small.
SHARES: dict[tuple[str, str], int] = {
    ("controller", RANDOM): 4,
    ("controller", BEFORE_DISPATCH): 3,
    ("controller", BEFORE_RECORD): 3,
    ("controller", BEFORE_RECEIPT): 3,
    ("trial", RANDOM): 4,
    ("dispatcher", RANDOM): 1,
    ("dispatcher", BEFORE_DISPATCH): 1,
    ("dispatcher", BEFORE_RECEIPT): 1,
}
SHORT = (
    ("controller", BEFORE_DISPATCH),
    ("controller", BEFORE_RECORD),
    ("controller", BEFORE_RECEIPT),
    ("trial", RANDOM),
    ("controller", RANDOM),
    ("trial", RANDOM),
    ("controller", BEFORE_RECEIPT),
    ("dispatcher", BEFORE_RECORD),
    ("trial", RANDOM),
    ("controller", BEFORE_RECORD),
)


def plan(kills: int, rng: random.Random) -> list[tuple[str, str]]:
    """Returns whom to kill where, in random order."""
    every = [kind for kind, share in SHARES.items() for _ in range(share)]
    found = (every * (kills // len(every) + 1))[:kills]
    rng.shuffle(found)
    return found


class Chaos:
    """One search under fire, on one database."""

    def __init__(self, database: str, folder: Path, rng: random.Random) -> None:
        self.database = database
        self.rng = rng
        self.controller = Controller(database, folder)
        self.proxy = Proxy(self.controller)
        self.dispatcher = Dispatcher(self.proxy.url, folder)
        self.killed: Counter[str] = Counter()
        self.search_id = ""

    def begin(self) -> None:
        """Starts everything and waits for the first result."""
        self.controller.start()
        self.search_id = self._post("/searches", SPEC)["id"]
        self.dispatcher.start()
        self._wait_for_a_result()

    def strike(self, victim: str, point: str) -> None:
        """Kills once, starts again what was killed, and waits until work goes on."""
        if point == RANDOM:
            time.sleep(self.rng.uniform(0.0, 0.5))
            self._kill(victim)
        else:
            self.proxy.arm(point, lambda: self._kill(victim))
            wait_for(f"the point {point!r}", self.proxy.fired.is_set)
        self.killed[f"{victim}, {point}"] += 1
        if victim == "controller":
            self.controller.start()
        if victim == "dispatcher":
            self.dispatcher.start()
        self._wait_for_a_result()

    def end(self) -> None:
        """Stops the search, then everything else, in order."""
        self._post(f"/searches/{self.search_id}/stop", None)
        wait_for("the end of the search", self._stopped)
        wait_for("the last delivery", lambda: not self.dispatcher.undelivered())
        self.dispatcher.stop()
        self.controller.stop()
        self.proxy.close()

    def abandon(self) -> None:
        """Kills whatever is left."""
        self.dispatcher.kill()
        self.controller.kill()

    def verdict(self) -> dict[str, Any]:
        """Returns what the database holds, and every violation in words."""
        store = open_store(self.database)
        violations = list(self.proxy.contradictions)
        try:
            check_everything(store, self.search_id)
        except AssertionError as error:
            violations.append(str(error).splitlines()[0])
        trials = all_trials(store, self.search_id)
        known = {one.id: one for one in trials}
        for lease_id, promised in self.proxy.receipts.items():
            trial = known.get(promised["trial_id"])
            final = promised["status"] != TrialStatus.QUEUED.value
            if trial is None or (final and trial.status.value != promised["status"]):
                violations.append(f"lost: {lease_id} was receipted as {promised['status']}")
            elif final and trial.fitness != promised["fitness"]:
                violations.append(f"changed: {lease_id} had fitness {promised['fitness']}")
        statuses = Counter(one.status.value for one in trials)
        attempts = sum(one.attempt for one in trials)
        if store.get_search(self.search_id).status is not SearchStatus.STOPPED:
            violations.append("the search did not stop")
        if statuses[TrialStatus.FAILED.value]:
            violations.append(f"{statuses['failed']} trials failed")
        store.close()
        return {
            "kills": sum(self.killed.values()),
            "killed": dict(sorted(self.killed.items())),
            "trials": dict(statuses),
            "attempts": attempts,
            "receipts": len(self.proxy.receipts),
            "violations": violations,
        }

    def _kill(self, victim: str) -> None:
        if victim == "controller":
            self.controller.kill()
        elif victim == "dispatcher":
            self.dispatcher.kill()
        else:
            wait_for("a trial's process", lambda: bool(self.dispatcher.trials()))
            try:
                self.rng.choice(self.dispatcher.trials()).kill()
            except (psutil.NoSuchProcess, IndexError):
                self._kill(victim)

    def _wait_for_a_result(self) -> None:
        seen = self.proxy.delivered
        wait_for("a result", lambda: self.proxy.delivered > seen)

    def _stopped(self) -> bool:
        answer = httpx2.get(
            f"{self.controller.url}/api/v1/searches/{self.search_id}", timeout=900, trust_env=False
        )
        return bool(answer.json()["status"] == SearchStatus.STOPPED.value)

    def _post(self, path: str, body: object) -> dict[str, Any]:
        answer = httpx2.post(
            f"{self.controller.url}/api/v1{path}", json=body, timeout=900, trust_env=False
        )
        answer.raise_for_status()
        return dict(answer.json())


def run(
    database: str,
    folder: Path,
    kills: list[tuple[str, str]],
    *,
    seed: int = 0,
    minutes: float = math.inf,
    outage: PostgresServer | None = None,
    outage_seconds: float = 30.0,
) -> dict[str, Any]:
    """Returns the verdict after the kills and, if asked for, an outage of the database.

    Args:
        database: Its URL.
        folder: For logs and the worker's state.
        kills: Whom to kill where, one after another.
        seed: Of the choice of trials and moments.
        minutes: After so many no further kill is begun.
        outage: The server to stop for a while at the end.
        outage_seconds: How long.
    """
    chaos = Chaos(database, folder, random.Random(seed))
    began = time.monotonic()
    try:
        chaos.begin()
        for number, (victim, point) in enumerate(kills, 1):
            if time.monotonic() - began > 60 * minutes:
                break
            chaos.strike(victim, point)
            print(f"{time.monotonic() - began:7.1f} s  {number:4}  {victim}, {point}", flush=True)
        if outage is not None:
            outage.stop()
            time.sleep(outage_seconds)
            outage.start()
            chaos._wait_for_a_result()
            chaos.killed[f"database gone for {outage_seconds:.0f} s"] += 1
        chaos.end()
    except BaseException:
        chaos.abandon()
        raise
    return chaos.verdict() | {"seconds": round(time.monotonic() - began, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=TARGET_KILLS, help="on each database")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--minutes", type=float, default=math.inf, help="on each database")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kills = plan(given.kills, random.Random(given.seed))
    found: dict[str, Any] = {}
    if given.database != "postgres":
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            database = f"sqlite:///{folder}/search.db"
            found["sqlite"] = run(
                database, Path(folder), kills, seed=given.seed, minutes=given.minutes
            )
    if given.database != "sqlite":
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder, postgres_server() as server:
            database = server.create_with_schema()
            found["postgres"] = run(database, Path(folder), kills, seed=given.seed, outage=server)
    violations = [one for verdict in found.values() for one in verdict["violations"]]
    report(
        name="chaos",
        value=len(violations),
        unit="violations",
        target=f"none after {TARGET_KILLS} kills on each database; here: {sorted(found)}",
        ok=not violations and all(one["kills"] >= TARGET_KILLS for one in found.values()),
        details=found,
    )


if __name__ == "__main__":
    main()
