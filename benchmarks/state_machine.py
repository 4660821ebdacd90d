"""A long way through the state machine of leases, on SQLite and PostgreSQL: no violation.

`python -m benchmarks.state_machine [--steps N]`. The machine itself, with its model and what must
hold after every step, is tests/search/store/machine.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.report import report
from tests.postgres import PostgresServer, postgres_server
from tests.search.store.machine import StoreMachine
from tests.search.store.test_state_machine import machine

STEPS_A_RUN = 100
TARGET_STEPS = 10_000


def walk(made: type[StoreMachine], steps: int) -> tuple[int, str]:
    """Returns how many steps were gone, and the first violation in words ("" if none)."""
    given = settings(
        max_examples=10,
        stateful_step_count=STEPS_A_RUN,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    while made.steps < steps:
        try:
            run_state_machine_as_test(made, settings=given)
        except Exception as error:  # noqa: BLE001 (any violation is the result)
            return made.steps, f"{type(error).__name__}: {error}"
    return made.steps, ""


def measure(
    kind: str, folder: Path, server: PostgresServer | None, steps: int
) -> dict[str, object]:
    """Returns steps, seconds and violation on one database."""
    began = time.perf_counter()
    gone, violation = walk(machine(kind, folder, server), steps)
    seconds = round(time.perf_counter() - began, 1)
    print(f"{kind:10} {gone:7} steps {seconds:8.1f} s   {violation or 'no violation'}")
    return {"steps": gone, "seconds": seconds, "violation": violation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=TARGET_STEPS, help="on each database")
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        found = {
            "file": measure("file", Path(folder), None, steps),
            "postgres": measure("postgres", Path(folder), server, steps),
        }
    violations = sum(bool(one["violation"]) for one in found.values())
    report(
        name="state-machine",
        value=violations,
        unit="violations",
        target="none in at least 10,000 steps on each database",
        ok=violations == 0 and steps >= TARGET_STEPS,
        details=found,
    )


if __name__ == "__main__":
    main()
