"""Pools over REST: looked at by readers, drained by writers, heard by claims that wait."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.rest_site import (
    CLAIM,
    ROOT,
    SPEC,
    claim,
    client,
    create,
    finish,
    served,
    to_candidates,
    token,
)


def test_a_pool_is_drained_and_resumed(tmp_path):
    with client(tmp_path) as http:
        create(http)
        lease = to_candidates(http)
        assert http.post(f"{ROOT}/pools/cpu/drain").json()["running"] == 1
        assert claim(http) == []
        (listed,) = http.get(f"{ROOT}/pools").json()["items"]
        assert (listed["pool"], listed["drained_at"] is not None) == ("cpu", True)
        finish(http, lease)
        detail = http.get(f"{ROOT}/pools/cpu").json()
        assert (detail["running"], detail["outcomes"]) == (0, {"completed": 2})
        assert detail["searches"][0]["blocked"] == "the pool is drained"
        assert http.post(f"{ROOT}/pools/cpu/resume").json()["drained_at"] is None
        assert len(claim(http)) == 1


@pytest.mark.parametrize("path", ["", "/drain", "/resume", "/retire", "/return"])
def test_an_unknown_pool_is_not_found(tmp_path, path):
    with client(tmp_path) as http:
        answer = http.request("POST" if path else "GET", f"{ROOT}/pools/cppu{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "cppu" in answer.json()["detail"]


def test_readers_look_and_writers_change(tmp_path):
    reader, worker = token(tmp_path, "read"), token(tmp_path, "worker")
    with client(tmp_path) as http:
        http.headers["Authorization"] = f"Bearer {worker}"
        claim(http)
        assert http.get(f"{ROOT}/pools/cpu").status_code == 403
        http.headers["Authorization"] = f"Bearer {reader}"
        assert http.get(f"{ROOT}/pools/cpu").status_code == 200
        assert http.post(f"{ROOT}/pools/cpu/drain").status_code == 403
        assert http.get(f"{ROOT}/pools/cpu").json()["drained_at"] is None


def test_a_claim_that_waits_hears_that_its_pool_is_resumed(tmp_path):
    with served(tmp_path) as (http, _), ThreadPoolExecutor(1) as pool:
        create(http)
        finish(http, claim(http)[0])
        http.post(f"{ROOT}/pools/cpu/drain")
        waiting = pool.submit(claim, http, wait_seconds=14)
        time.sleep(0.5)
        assert not waiting.done()
        began = time.monotonic()
        http.post(f"{ROOT}/pools/cpu/resume")
        assert len(waiting.result(timeout=14)) == 1
        assert time.monotonic() - began < 5


def test_a_pool_is_retired_and_brought_back(tmp_path):
    with client(tmp_path) as http:
        create(http)
        to_candidates(http)
        told = http.post(f"{ROOT}/pools/cpu/retire").json()
        assert told["pool"]["retired_at"] is not None
        (left,) = told["searches"]
        assert (left["name"], left["status"], left["put_back"]) == ("laptop", "running", 1)
        refused = http.post(f"{ROOT}/leases/claim", json=CLAIM)
        assert (refused.status_code, refused.json()["code"]) == (409, "pool_retired")
        assert "pool cpu was retired" in refused.json()["detail"]
        asked = http.post(f"{ROOT}/searches", json=SPEC | {"name": "late", "pools": ["cpu"]})
        assert (asked.status_code, asked.json()["code"]) == (422, "invalid_spec")
        assert asked.json()["errors"][0]["pointer"] == "/pools"
        refused = http.post(f"{ROOT}/pools/cpu/resume")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert http.post(f"{ROOT}/pools/cpu/return").json()["retired_at"] is None
        assert len(claim(http)) == 1


def test_a_claim_that_waits_hears_that_its_pool_is_retired(tmp_path):
    with served(tmp_path) as (http, _), ThreadPoolExecutor(1) as pool:
        create(http)
        finish(http, claim(http)[0])
        http.post(f"{ROOT}/pools/cpu/drain")
        ask = {"json": CLAIM | {"wait_seconds": 14}, "timeout": 20}
        waiting = pool.submit(http.post, f"{ROOT}/leases/claim", **ask)
        time.sleep(0.5)
        assert not waiting.done()
        began = time.monotonic()
        http.post(f"{ROOT}/pools/cpu/retire")
        assert waiting.result(timeout=14).status_code == 409
        assert time.monotonic() - began < 5
