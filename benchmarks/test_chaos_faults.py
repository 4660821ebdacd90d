"""Each named fault once; `make bench-chaos-faults` has two hundred on each database."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos_faults import Postgres, Sqlite, run
from benchmarks.fault_clients import Oracle, loss_of
from tests.postgres import PostgresServer

pytestmark = pytest.mark.timed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_fault_of_a_file_is_seen_by_a_client(tmp_path: Path) -> None:
    place = Sqlite(tmp_path / "search.db")
    told = run(place, tmp_path, list(place.faults()), seed=1)
    assert told["violations"] == []
    assert told["receipts"] > 50


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_fault_of_a_server_is_seen_by_a_client(tmp_path: Path, postgres: PostgresServer) -> None:
    place = Postgres(postgres)
    told = run(place, tmp_path, list(place.faults()), seed=1)
    place.relay.close()
    assert told["violations"] == []
    assert told["receipts"] > 50


def trial(number: int, **changes: object) -> dict[str, object]:
    genome = {"model_dim": number}
    measured = {"validation_loss": loss_of(genome)}
    fields = {"number": number, "status": "completed", "genome": genome, "digest": str(number)}
    return fields | {"kind": "candidate", "measurements": measured, "message": ""} | changes


def test_the_oracle_sees_what_is_lost_wrong_failed_or_doubled() -> None:
    oracle = Oracle()
    for number in range(3):
        lease = {"lease_id": f"l-{number}", "trial_number": number, "genome": {"model_dim": number}}
        oracle.receipted(lease, {"status": "completed"}, oracle.world)
    oracle.judge([trial(number) for number in range(3)], oracle.promised())
    assert oracle.violations == []
    wrong = [trial(0, genome={"model_dim": 7}), trial(1, status="failed", digest="0")]
    oracle.judge(wrong, oracle.promised())
    told = " ".join(oracle.violations)
    for word in ("loss of another genome", "trial 1 failed", "proposed twice", "lost: l-2"):
        assert word in told
    fresh = Oracle(receipts=dict(oracle.receipts))
    fresh.rewound(1)
    fresh.judge([trial(0)], fresh.promised())
    assert fresh.violations == []


def test_the_oracle_asks_only_for_what_was_promised_when_it_asked_and_in_this_world() -> None:
    oracle = Oracle()
    promised = oracle.promised()
    lease = {"lease_id": "l-0", "trial_number": 0, "genome": {"model_dim": 0}}
    oracle.receipted(lease, {"status": "completed"}, oracle.world)
    oracle.judge([trial(0, status="running")], promised)
    assert oracle.violations == []
    oracle.rewound(0)
    oracle.receipted(lease, {"status": "completed"}, oracle.world - 1)
    assert oracle.promised() == []
