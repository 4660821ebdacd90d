import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import httpx2
import pytest

from brainformer.api.live.waiting_claims import CLAIMS_AT_ONCE
from brainformer.api.routes import leases
from brainformer.search.trials.version_skew import HEADER, own_version
from tests.api.rest_site import (
    CLAIM,
    DONE,
    ROOT,
    SPEC,
    claim,
    client,
    create,
    finish,
    served,
    to_candidates,
)
from tests.worker.waiting import wait_for

LEASES = f"{ROOT}/leases"


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_an_identical_repeat_gets_the_same_receipt_and_counts_once(database_url):
    with client(Path(), database_url=database_url) as http:
        search = create(http)
        lease = to_candidates(http)
        first = finish(http, lease)
        again = finish(http, lease)
        assert again == first | {"duplicate": True}
        record = http.get(f"{ROOT}/searches/{search['id']}").json()
        assert record["counts"]["completed"] == 2


@pytest.mark.parametrize(("count", "status"), [(2.0, 200), (2.5, 422), ("2", 422), (True, 422)])
def test_a_whole_number_is_an_integer_however_it_is_written(tmp_path, count, status):
    with client(tmp_path) as http:
        create(http)
        answer = http.post(f"{LEASES}/claim", json={**CLAIM, "count": count})
        assert answer.status_code == status


def test_a_late_report_is_refused_and_kept_for_audit(database_url):
    with client(Path(), database_url=database_url) as http:
        search = create(http)
        lease = to_candidates(http)
        assert http.post(f"{LEASES}/{lease['lease_id']}/release").status_code == 204
        second = claim(http)[0]
        assert second["trial_id"] == lease["trial_id"]
        assert second["attempt"] > lease["attempt"]
        late = http.post(f"{LEASES}/{lease['lease_id']}/result", json=DONE)
        assert code(late) == (409, "lease_lost")
        assert code(http.post(f"{LEASES}/{lease['lease_id']}/progress", json={}))[0] == 409
        finish(http, second)
        path = f"{ROOT}/searches/{search['id']}/trials/{lease['trial_number']}"
        attempts = http.get(path).json()["attempts"]
        assert sum(one["accepted"] for one in attempts) == 1
        assert any("refused" in one["message"] for one in attempts)


def test_progress_is_answered_stop_when_the_constraint_is_broken(tmp_path):
    with client(tmp_path) as http:
        create(http)
        lease = to_candidates(http)
        point = {"fraction": 0.3, "step": 1, "training_seconds": 0.1, "validation_loss": 2.0}
        path = f"{LEASES}/{lease['lease_id']}/progress"
        fine = http.post(path, json={"point": point, "step_time_ms": 20}).json()
        assert fine["action"] == "continue"
        slow = http.post(path, json={"point": point, "step_time_ms": 900}).json()
        assert slow["action"] == "stop"
        assert slow["reason"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"outcome": "lost"}, 422),
        ({"measurements": {"validation_loss": "NaN"}}, 422),
        ({"measurements": {"validation_loss": 1e999}}, 400),
        ({"measurements": {}}, 422),
        ({"measurements": {"step_time_ms": -1, "validation_loss": 1.0}}, 422),
        ({"traceback": "x" * 50_001}, 422),
        ({"surprise": True}, 422),
        ({"measurements": {"validation_loss": "2.0"}}, 422),
        ({"measurements": {"validation_loss": True}}, 422),
    ],
)
def test_a_bad_result_changes_nothing(tmp_path, changes, status):
    with client(tmp_path) as http:
        create(http)
        lease = to_candidates(http)
        answer = http.post(
            f"{LEASES}/{lease['lease_id']}/result",
            content=json.dumps(DONE | changes),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == status
        assert not finish(http, lease)["duplicate"]


@pytest.mark.parametrize(
    "lease_id", ["1", "1-", "-1", "a-b", "1-1-1", "99999999999999999-1", "1-99999999999", "%00-1"]
)
def test_a_malformed_lease_is_a_problem(tmp_path, lease_id):
    with client(tmp_path) as http:
        for verb, body in (("progress", {}), ("result", DONE)):
            answer = http.post(f"{LEASES}/{lease_id}/{verb}", json=body)
            assert answer.status_code in {404, 422}
        assert http.post(f"{LEASES}/{lease_id}/release").status_code in {404, 422}


def test_an_unknown_lease_is_not_found(tmp_path):
    with client(tmp_path) as http:
        assert code(http.post(f"{LEASES}/7-1/result", json=DONE)) == (404, "not_found")


def test_claims_beyond_the_rate_wait(tmp_path):
    with client(tmp_path, claims_per_second=1) as http:
        answers = [http.post(f"{LEASES}/claim", json=CLAIM) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1


def in_thread(call) -> tuple[threading.Thread, list]:
    found: list = []
    thread = threading.Thread(target=lambda: found.append((call(), time.monotonic())))
    thread.start()
    return thread, found


def test_a_waiting_claim_is_served_when_a_search_appears(database_url, tmp_path):
    with served(tmp_path, database_url=database_url) as (http, _):
        thread, found = in_thread(lambda: claim(http, wait_seconds=20))
        until(lambda: waiting(http) == 1)
        began = time.monotonic()
        with httpx2.Client(base_url=http.base_url, trust_env=False) as other:
            assert other.post(f"{ROOT}/searches", json=SPEC).status_code == 201
        thread.join(timeout=20)
        [(leases, ended)] = found
        assert len(leases) == 1
        assert ended - began < 5


def test_a_claim_that_nobody_waits_for_takes_nothing(tmp_path):
    with served(tmp_path) as (http, _):
        with pytest.raises(httpx2.ReadTimeout):
            http.post(f"{LEASES}/claim", json=CLAIM | {"wait_seconds": 20}, timeout=0.5)
        create(http)
        until(lambda: waiting(http) == 0)
        assert len(claim(http)) == 1
        record = http.get(f"{ROOT}/searches/laptop").json()
        assert record["counts"]["running"] == 1


def test_idle_claims_cost_no_transaction_each(tmp_path, monkeypatch):
    with served(tmp_path) as (http, server):
        store = server.config.app.state.controller.store
        asked = []
        claim_now = store.claim
        monkeypatch.setattr(store, "claim", lambda r: asked.append(r) or claim_now(r))
        idle = [in_thread(lambda: patient_claim(http)) for _ in range(12)]
        until(lambda: waiting(http) == 12)
        assert len(asked) == 12
        create(http)  # work for one: the baseline's only repeat
        until(lambda: waiting(http) == 11)
        time.sleep(0.3)
        # The one that was served and the next in line; the others did not ask.
        assert len(asked) <= 12 + 4
        server.should_exit = True
        for thread, _ in idle:
            thread.join(timeout=20)
        assert sum(len(found[0][0]) for _, found in idle) == 1


def patient_claim(http) -> list:
    with httpx2.Client(base_url=http.base_url, timeout=30, trust_env=False) as own:
        return claim(own, wait_seconds=25)


def waiting(http) -> int:
    with httpx2.Client(base_url=http.base_url, trust_env=False) as own:
        text = own.get("/metrics").text
    line = next(x for x in text.splitlines() if x.startswith("brainformer_waiting_claims "))
    return int(float(line.split()[1]))


def until(condition, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("change", ["9.9.9", "0.0.1", "1.{1}.0", "{0}.99.0rc1"])
def test_a_worker_of_another_minor_version_is_refused_with_both_named(tmp_path, change):
    own = own_version()
    theirs = change.format(*own.split("."))
    with client(tmp_path) as http:
        create(http)
        told = http.post(f"{LEASES}/claim", json=CLAIM, headers={HEADER: theirs})
        assert code(told) == (409, "version_skew")
        assert f"worker {theirs} " in told.json()["detail"]
        assert f"controller {own}" in told.json()["detail"]
        assert http.post(f"{LEASES}/claim", json=CLAIM).json()["leases"]


def test_a_worker_of_another_patch_version_is_served(tmp_path):
    with client(tmp_path) as http:
        create(http)
        near = ".".join([*own_version().split(".")[:2], "99"])
        told = http.post(f"{LEASES}/claim", json=CLAIM, headers={HEADER: near})
        assert len(told.json()["leases"]) == 1


@contextmanager
def stuck_claims(http, server, monkeypatch):
    """Yields who is at a claim in a store that grants nothing until the event is set."""
    store, let_go = server.config.app.state.controller.store, threading.Event()
    claimed, inside = store.claim, []

    def slow(wanted):
        inside.append(wanted.worker_id)
        assert let_go.wait(60)
        return claimed(wanted)

    monkeypatch.setattr(store, "claim", slow)
    http.timeout = httpx2.Timeout(60, pool=None)
    try:
        yield inside, let_go
    finally:
        let_go.set()


def claim_as(http, worker, **more):
    return http.post(f"{LEASES}/claim", json={**CLAIM, "worker_id": worker, **more})


def test_a_rush_of_claims_leaves_threads_to_everybody_else(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "TURN_SECONDS", 0.5)
    with served(tmp_path) as (http, server), ThreadPoolExecutor(60) as threads:
        create(http)
        lease = to_candidates(http)
        with stuck_claims(http, server, monkeypatch) as (inside, let_go):
            asks = [threads.submit(claim_as, http, f"w-{number}") for number in range(60)]
            refused = [one.result() for one in islice(as_completed(asks), 60 - CLAIMS_AT_ONCE)]
            assert {code(one) for one in refused} == {(503, "storage_held")}
            assert all("retry-after" in one.headers for one in refused)
            assert len(inside) == CLAIMS_AT_ONCE
            assert finish(http, lease)["status"] == "completed"
            let_go.set()
            answers = sorted(one.result().status_code for one in asks)
        assert answers == [200] * CLAIMS_AT_ONCE + [503] * len(refused)


def test_a_claim_whose_caller_leaves_before_its_turn_takes_nothing(tmp_path, monkeypatch):
    with served(tmp_path) as (http, server), ThreadPoolExecutor(60) as threads:
        create(http)
        to_candidates(http)
        with stuck_claims(http, server, monkeypatch) as (inside, let_go):
            for number in range(CLAIMS_AT_ONCE):
                threads.submit(claim_as, http, f"w-{number}")
            wait_for(lambda: len(inside) == CLAIMS_AT_ONCE)
            with (
                httpx2.Client(base_url=http.base_url, timeout=0.5, trust_env=False) as impatient,
                pytest.raises(httpx2.ReadTimeout),
            ):
                claim_as(impatient, "gone", wait_seconds=20)
            last = threads.submit(claim_as, http, "stays", wait_seconds=20)
            let_go.set()
            assert last.result().json()["leases"]
        assert "stays" in inside
        assert "gone" not in inside
