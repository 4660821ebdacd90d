"""The state machine, a short way on every database; `make bench-state-machine` goes far."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.postgres import PostgresServer
from tests.search.store.machine import StoreMachine
from tests.search.store.site import Site

EXAMPLES = {"memory": 10, "file": 4, "postgres": 4}
STEPS = 40


def machine(kind: str, folder: Path, server: PostgresServer | None) -> type[StoreMachine]:
    """Returns the machine over fresh databases of one kind."""
    made = 0

    def make_site() -> Site:
        nonlocal made
        made += 1
        if server is not None:
            return Site(server.create_with_schema())
        return Site("sqlite://" if kind == "memory" else f"sqlite:///{folder / f'{made}.db'}")

    def end_site(site: Site) -> None:
        site.store.close()
        if server is not None:
            server.drop(site.url)

    bound = {"make_site": staticmethod(make_site), "end_site": staticmethod(end_site), "steps": 0}
    return type(f"{kind.title()}Machine", (StoreMachine,), bound)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_no_sequence_of_moves_breaks_the_store(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("postgres") if kind == "postgres" else None
    made = machine(kind, tmp_path, server)
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=EXAMPLES[kind],
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert made.steps > EXAMPLES[kind]
