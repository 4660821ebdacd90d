"""SIGKILLs a random host of a two-host trial at random; every trial goes on and ends once.

`python -m benchmarks.host_kills [--kills N] [--seed N] [--minutes M]`
Two Ray nodes on this machine are the hosts, a process with one CPU device is each one's share of a
trial. Each trial, a repeat of the baseline, is killed once, some moment after its first checkpoint.
It has gone on, rather than begun anew, if its result has the number of steps that the checkpoint
names, which the clock decides anew for a trial that begins, and the points of the curve that were
saved, times and all.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import report
from brainformer.search.sql.store import open_store
from tests.search.store.audit import check_everything
from tests.worker.ray_nodes import ranks, ray_nodes
from tests.worker.stack import Stack
from tests.worker.tune.test_dispatcher import spec
from tests.worker.waiting import wait_for

TARGET_KILLS = 10
BUDGET_SECONDS = 4.0
SAVE_EVERY = 0.5
LATEST_SECONDS = 5.0  # from the first checkpoint to the kill
LEASE_SECONDS = 30  # of a busy machine: nobody's silence is to end a lease but that of the killed
PATIENCE_SECONDS = 300.0


class Kills:
    """One search whose trials are killed, one after another.

    Args:
        stack: Controller and dispatcher.
        folder: Of the worker's state and of the shared checkpoints.
        rng: Draws whom to kill when.
    """

    def __init__(self, stack: Stack, folder: Path, rng: random.Random) -> None:
        self._stack = stack
        self._folder = folder
        self._rng = rng
        self._search = ""
        self.found: list[dict[str, Any]] = []

    def run(self, kills: int, minutes: float) -> str:
        """Kills so many trials, if there is time, and returns the search's id once it has ended."""
        end = time.monotonic() + 60 * minutes
        made = spec("kills", trials=1, budget_seconds=BUDGET_SECONDS, baseline_repeats=kills)
        made["lease_seconds"] = LEASE_SECONDS
        self._search = self._stack.create(made)
        while len(self.found) < kills and time.monotonic() < end:
            self.found.append(self._strike(len(self.found)))
            print(json.dumps(self.found[-1]), flush=True)
        if len(self.found) < kills:
            self._stack.http.post(f"/searches/{self._search}/stop").raise_for_status()
        self._stack.wait(self._search, seconds=PATIENCE_SECONDS)
        return self._search

    def _strike(self, number: int) -> dict[str, Any]:
        """Kills a host of the trial and returns how it ended after all."""
        place = self._folder / "shared" / f"{self._search}-{number}" / "progress.json"
        wait_for(place.exists, seconds=PATIENCE_SECONDS)
        time.sleep(self._rng.uniform(0.0, LATEST_SECONDS))
        host = self._rng.randrange(2)
        try:
            ranks(self._folder)[host].kill()
        except (KeyError, psutil.Error):
            return {"trial": number, "host": host, "missed": True}
        killed = time.monotonic()
        wait_for(lambda: self._attempts(number)[0]["outcome"], seconds=PATIENCE_SECONDS)
        noticed = time.monotonic() - killed
        saved = json.loads(place.read_text()) if place.exists() else {}
        trial = wait_for(lambda: self._ended(number), seconds=PATIENCE_SECONDS)
        measured, points = trial["measurements"], saved.get("curve", [])
        return {
            "trial": number,
            "host": host,
            "noticed_seconds": round(noticed, 1),
            "saved_steps": saved.get("steps"),
            "steps": measured.get("steps"),
            "outcomes": [one["outcome"] for one in trial["attempts"]],
            "hosts": measured.get("hosts"),
            "resumed": bool(saved)
            and measured.get("steps") == saved["total_steps"]
            and measured["curve"][: len(points)] == points,
        }

    def _trial(self, number: int) -> dict[str, Any]:
        return dict(self._stack.http.get(f"/searches/{self._search}/trials/{number}").json())

    def _attempts(self, number: int) -> list[dict[str, Any]]:
        return list(self._trial(number)["attempts"])

    def _ended(self, number: int) -> dict[str, Any] | None:
        trial = self._trial(number)
        return None if trial["status"] in {"queued", "running"} else trial


def run(kills: int, seed: int, folder: Path, minutes: float) -> dict[str, Any]:
    """Returns what came of the kills, and what is wrong with what the database holds."""
    with ray_nodes([{}, {}]) as cluster:
        extra = ("--hosts", "2", "--ray-address", cluster.address)
        extra += ("--checkpoints", str(folder / "shared"), "--save-every", str(SAVE_EVERY))
        with Stack(folder, slots=1, runner="train", extra=extra) as stack:
            strikes = Kills(stack, folder, random.Random(seed))
            search = strikes.run(kills, minutes)
            trials = stack.trials(search)
    violations = []
    store = open_store(f"sqlite:///{folder / 'search.db'}")
    try:
        check_everything(store, search)
    except AssertionError as error:
        violations.append(str(error).splitlines()[0])
    store.close()
    return {
        "found": strikes.found,
        "statuses": dict(Counter(trial["status"] for trial in trials)),
        "violations": violations,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=TARGET_KILLS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="then no further kill")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="host-kills-") as folder:
        details = run(given.kills, given.seed, Path(folder), given.minutes)
    found = details["found"]
    once = [one.get("outcomes", []).count("completed") == 1 for one in found]
    resumed = sum(one.get("resumed", False) and sole for one, sole in zip(found, once, strict=True))
    noticed = max((one.get("noticed_seconds", 0.0) for one in found), default=0.0)
    print(f"{'trial':>6} {'host':>5} {'noticed':>8} {'saved at':>9} {'steps':>6}  outcomes")
    for one in found:
        cells = (one.get(name, "-") for name in ("trial", "host", "noticed_seconds"))
        print("{:>6} {:>5} {:>7}s".format(*cells), end=" ")
        print(f"{one.get('saved_steps', '-'):>9} {one.get('steps', '-'):>6}", end="  ")
        print(", ".join(one.get("outcomes", ["missed"])))
    report(
        name="host-kills",
        value=resumed,
        unit="trials resumed and recorded once",
        target=f"{given.kills} of {given.kills}, each loss noticed within 30 s",
        ok=resumed == given.kills and noticed < 30 and not details["violations"],
        details=details | {"noticed_seconds_at_most": noticed, "seed": given.seed},
    )


if __name__ == "__main__":
    main()
