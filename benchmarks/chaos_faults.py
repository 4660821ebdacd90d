"""Named faults under a controller at work: frozen, rewound, silent, locked, replaced, misclocked.

`python -m benchmarks.chaos_faults [--faults N] [--database sqlite|postgres|both] [--only NAME]`
Clients claim, beat and report all the while; an oracle that sees only their messages compares what
they were promised with what the controller tells afterwards over REST. `benchmarks.chaos` kills
processes at exact points, with Ray; here everything else goes wrong.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from sqlalchemy import make_url

from benchmarks.chaos_stage import Controller, wait_for
from benchmarks.fault_clients import Client, Oracle
from benchmarks.report import report
from tests.postgres import PostgresServer, postgres_server
from tests.relay import Relay

TARGET_FAULTS = 200
LEASE_SECONDS = 8
SPEC: dict[str, Any] = {
    "name": "faults",
    "space": "nano",
    "limits": {"trials": 1_000_000},
    "population_size": 20,
    "tournament_size": 5,
    "baseline_repeats": 1,
    "confirmations": 0,
    "screening": {"kind": "none"},
    "step_time_slack": None,
    "hurdle": False,
    "lease_seconds": LEASE_SECONDS,
    "max_attempts": 2,
    "proxy": {"experts": 8, "head_dim": 16, "sequence_length": 64, "budget_seconds": 0.1},
}
ROOT = "/api/v1"
# A controller whose clock is wrong by the first argument, in seconds.
MISCLOCKED = """
import sys, time
wrong, true = float(sys.argv.pop(1)), time.time
time.time = lambda: true() + wrong
from brainformer.api.cli.main import main
main()
"""


class Stage:
    """A controller, its clients, and what can go wrong around them.

    Args:
        database: URL, as the controller is given it.
        folder: For logs and backups.
        rng: Chooses moments.
    """

    def __init__(self, database: str, folder: Path, rng: random.Random) -> None:
        self.database = database
        self.folder = folder
        self.rng = rng
        self.controller = Controller(database, folder)
        self.oracle = Oracle()
        self.search_id = ""
        self._clients: list[Client] = []

    def begin(self) -> None:
        """Starts everything and waits for the first receipts."""
        self.start()
        answer = httpx2.post(f"{self.controller.url}{ROOT}/searches", json=SPEC, trust_env=False)
        answer.raise_for_status()
        self.search_id = answer.json()["id"]
        for number in range(6):
            client = Client(self.controller.url, f"w-{number}", self.oracle, number)
            self._clients.append(client)
            client.start()
        self.goes_on()

    def start(self) -> None:
        """Starts the controller."""
        self.controller.start()
        self.oracle.running.set()

    def kill(self) -> None:
        """Kills it."""
        self.oracle.running.clear()
        self.controller.kill()

    def goes_on(self) -> None:
        """Waits for new receipts, and for readiness: what must follow every fault."""
        seen = self.oracle.count
        wait_for("new receipts", lambda: self.oracle.count > seen + 5)
        wait_for("readiness", self._is_ready)

    def some_work(self) -> None:
        """Lets clients work for a moment."""
        seen = self.oracle.count
        wait_for("some work", lambda: self.oracle.count > seen + 10)

    def judge(self) -> None:
        """Compares promises with what the controller tells."""
        promised = self.oracle.promised()  # before it is asked: clients go on meanwhile
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": 1000}
        while True:
            path = f"{self.controller.url}{ROOT}/searches/{self.search_id}/trials"
            page = httpx2.get(path, params=query, timeout=60, trust_env=False).json()
            found += page["items"]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        self.oracle.judge(found, promised)

    def end(self) -> None:
        """Lets clients deliver what they hold, judges, and stops the controller."""
        for client in self._clients:
            client.ended.set()
        for client in self._clients:
            client.join(timeout=180)
            if client.is_alive():
                self.oracle.violate(f"{client.name} is stuck")
        self.judge()
        self.oracle.running.clear()
        self.controller.stop()

    def signal(self, number: signal.Signals) -> None:
        """Sends the controller a signal."""
        assert self.controller._process is not None
        self.controller._process.send_signal(number)

    def _is_ready(self) -> bool:
        with suppress(httpx2.HTTPError):
            answer = httpx2.get(f"{self.controller.url}/readyz", timeout=30, trust_env=False)
            return answer.status_code == 200
        return False


Fault = Callable[[Stage], None]


def killed(stage: Stage) -> None:
    """SIGKILL at a random moment."""
    time.sleep(stage.rng.uniform(0, 0.5))
    stage.kill()
    stage.start()


def frozen(stage: Stage) -> None:
    """SIGSTOP for longer than a lease, twice: no healthy trial may fail for it."""
    for _ in range(2):
        stage.oracle.running.clear()
        stage.signal(signal.SIGSTOP)
        time.sleep(LEASE_SECONDS * 1.3)
        stage.signal(signal.SIGCONT)
        stage.some_work()
        stage.oracle.running.set()


class Sqlite:
    """Faults of a SQLite file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = f"sqlite:///{file}"

    def faults(self) -> dict[str, Fault]:
        """Returns them by name."""
        return {
            "killed": killed,
            "frozen": frozen,
            "restored": self.restored,
            "truncated log": self.truncated,
            "held lock": self.held,
            "replaced file": self.replaced,
            "wrong clock": self.misclocked,
        }

    def restored(self, stage: Stage) -> None:
        """A backup of a busy database is put back; what came after it is lost."""
        before, copy = stage.oracle.count, stage.folder / f"backup-{time.monotonic_ns()}.db"
        command_line("db", "backup", str(copy), "--database", self.url)
        stage.some_work()
        stage.kill()
        stage.oracle.rewound(before)
        command_line("db", "restore", str(copy), "--database", self.url)
        copy.unlink()
        for kept in self.file.parent.glob(f"{self.file.name}.before-*"):
            kept.unlink()
        stage.start()

    def truncated(self, stage: Stage) -> None:
        """The power fails: the last commits never reached the disk."""
        log = Path(f"{self.file}-wal")
        before, size = stage.oracle.count, log.stat().st_size
        stage.some_work()
        stage.kill()
        stage.oracle.rewound(before)
        if log.stat().st_size > size:
            with log.open("r+b") as whole:
                whole.truncate(size + stage.rng.randrange(4096))  # a torn page too
        stage.start()

    def held(self, _stage: Stage) -> None:
        """Another process holds the write lock."""
        other = sqlite3.connect(self.file, isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(LEASE_SECONDS * 1.3)
        other.rollback()
        other.close()

    def replaced(self, stage: Stage) -> None:
        """A copy takes the file's place for a while; what is written then would be lost."""
        aside, copy = self.file.with_suffix(".aside"), self.file.with_suffix(".copy")
        shutil.copy(self.file, copy)
        self.file.rename(aside)
        if stage.rng.random() < 0.5:
            copy.rename(self.file)
        began = stage.oracle.count
        time.sleep(2)
        if stage.oracle.count > began + len(stage._clients):  # those on their way may arrive
            stage.oracle.violate("results were receipted while the file was another one")
        aside.rename(self.file)
        copy.unlink(missing_ok=True)

    def misclocked(self, stage: Stage) -> None:
        """The controller is restarted with a wrong clock: refused, or harmless."""
        stage.kill()
        for wrong in (10 * 365 * 86_400, -3 * 86_400):
            if serves_with_clock(stage, wrong):
                stage.oracle.violate(f"a clock that is wrong by {wrong} s was accepted")
        with wrong_clock(stage, stage.rng.choice([-7200.0, 7200.0])):
            stage.oracle.running.set()
            stage.goes_on()
            stage.oracle.running.clear()
        stage.start()


class Postgres:
    """Faults of a PostgreSQL server behind a relay."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.direct = server.create_with_schema()
        self.relay = Relay(self.direct)
        self.url = self.relay.url

    def faults(self) -> dict[str, Fault]:
        """Returns them by name."""
        return {
            "killed": killed,
            "frozen": frozen,
            "restored": self.restored,
            "silent database": self.silent,
            "held lock": self.held,
            "restarted server": self.restarted,
        }

    def restored(self, stage: Stage) -> None:
        """A dump of a busy database is put back; what came after it is lost."""
        before, dump = stage.oracle.count, stage.folder / "dump"
        address = make_url(self.direct)
        where = ["--host", str(address.query["host"]), "--username", "postgres"]
        name = str(address.database)
        program = self._server.program
        program("pg_dump", "--format=custom", f"--file={dump}", *where, name)
        stage.some_work()
        stage.kill()
        stage.oracle.rewound(before)
        program("dropdb", "--force", *where, name)
        program("createdb", *where, name)
        program("pg_restore", f"--dbname={name}", *where, str(dump))
        command_line("db", "restore", "--database", self.direct)
        stage.start()

    def silent(self, _stage: Stage) -> None:
        """Nothing that is sent arrives, for longer than a lease."""
        self.relay.fall_silent()
        time.sleep(LEASE_SECONDS * 1.3)
        self.relay.speak()

    def held(self, _stage: Stage) -> None:
        """Somebody's session holds the rows of all searches."""
        with psycopg.connect(self.direct.replace("+psycopg", "")) as session:
            session.execute("SELECT * FROM searches FOR UPDATE")
            time.sleep(LEASE_SECONDS * 1.3)
            session.rollback()

    def restarted(self, stage: Stage) -> None:
        """The server goes away and comes back."""
        self._server.stop()
        time.sleep(stage.rng.uniform(0.5, LEASE_SECONDS * 1.3))
        self._server.start()


def command_line(*words: str) -> None:
    """Runs `brainformer`; raises if it fails."""
    command = [sys.executable, "-m", "brainformer.api.cli.main", *words]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def wrong_clock(stage: Stage, wrong: float) -> Iterator[None]:
    """Serves with a clock that is wrong by so many seconds."""
    usual = stage.controller._command
    stage.controller._command = [sys.executable, "-c", MISCLOCKED, str(wrong), *usual[3:]]
    try:
        stage.controller.start()
        yield
        stage.controller.kill()
    finally:
        stage.controller._command = usual


def serves_with_clock(stage: Stage, wrong: float) -> bool:
    """Returns whether a controller starts with a clock that is wrong by so many seconds."""
    try:
        with wrong_clock(stage, wrong):
            return True
    except RuntimeError:  # it has ended by itself
        return False


def run(place: Sqlite | Postgres, folder: Path, faults: list[str], *, seed: int) -> dict[str, Any]:
    """Returns what was found after the faults, one after another.

    Args:
        place: The database.
        folder: For logs and backups.
        faults: By name.
        seed: Of moments.
    """
    stage = Stage(place.url, folder, random.Random(seed))
    done: Counter[str] = Counter()
    began = time.monotonic()
    known, seen = place.faults(), 0
    try:
        stage.begin()
        for number, name in enumerate(faults, 1):
            known[name](stage)
            stage.goes_on()
            done[name] += 1
            if number % 10 == 0:
                stage.judge()
            told = f"{time.monotonic() - began:7.1f} s  {number:4}  {name}"
            print(f"{told}  {stage.oracle.count} receipts", flush=True)
            for violation in stage.oracle.violations[seen:]:
                print(f"           {violation}", flush=True)
            seen = len(stage.oracle.violations)
        stage.end()
    except BaseException:
        stage.controller.kill()
        raise
    return {
        "faults": dict(sorted(done.items())),
        "receipts": stage.oracle.count,
        "refused_after_rewinds": stage.oracle.refused,
        "slowest_answer_seconds": round(stage.oracle.slowest_seconds, 2),
        "violations": sorted(set(stage.oracle.violations)),
        "seconds": round(time.monotonic() - began, 1),
    }


def plan(names: list[str], count: int, rng: random.Random) -> list[str]:
    """Returns so many faults, each about as often, in random order."""
    found = (names * (count // len(names) + 1))[:count]
    rng.shuffle(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=TARGET_FAULTS, help="on each database")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--only", help="this fault alone")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as name, postgres_server() as server:
        places: dict[str, Sqlite | Postgres] = {}
        if given.database != "postgres":
            places["sqlite"] = Sqlite(Path(name) / "search.db")
        if given.database != "sqlite":
            places["postgres"] = Postgres(server)
        for kind, place in places.items():
            (folder := Path(name) / kind).mkdir()
            names = [one for one in place.faults() if given.only in (None, one)]
            faults = plan(names, given.faults, rng)
            found[kind] = run(place, folder, faults, seed=given.seed)
            print(kind, found[kind], flush=True)
    violations = [f"{kind}: {one}" for kind, told in found.items() for one in told["violations"]]
    enough = all(sum(one["faults"].values()) >= TARGET_FAULTS for one in found.values())
    report(
        name="chaos-faults",
        value=len(violations),
        unit="violations",
        target=f"none after {TARGET_FAULTS} faults on each database; here: {sorted(found)}",
        ok=not violations and enough and len(found) == 2,
        details=found,
        keep=enough,
    )


if __name__ == "__main__":
    main()
