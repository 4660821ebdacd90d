from pathlib import Path

import pytest

from brainformer.api.problems.problem import STATUS, problem_of, status_of
from brainformer.search import errors as tree
from brainformer.search import storage_errors as storage
from tests.api.rest_site import ROOT, client


def leaves(cls: type) -> list[type]:
    return [cls, *(leaf for sub in cls.__subclasses__() for leaf in leaves(sub))]


@pytest.mark.parametrize("cls", leaves(tree.BrainformerError))
def test_every_error_has_a_status_of_its_own_kind(cls):
    if cls is not tree.BrainformerError and cls.__module__.startswith("brainformer.search."):
        nearest = next(base for base in cls.__mro__ if base in STATUS)
        assert nearest is not tree.BrainformerError


def test_codes_are_unique():
    codes = [
        cls.code
        for cls in leaves(tree.BrainformerError)
        if cls.__module__.startswith("brainformer.search.")
    ]
    assert len(set(codes)) == len(codes)


def test_conflicts_validation_and_storage_have_the_usual_statuses():
    assert status_of(tree.LeaseLost(1, 1, "x")) == 409
    assert status_of(tree.StaleVersion("search", "a", 1, 2)) == 412
    assert status_of(tree.InvalidGenome("x")) == 422
    assert status_of(storage.StorageUnavailable("x")) == 503


@pytest.mark.parametrize(
    ("cls", "seconds"),
    [
        (storage.StorageUnavailable, "2"),
        (storage.StorageUnreachable, "2"),
        (storage.StorageBusy, "1"),
        (storage.StorageFull, "30"),
        (storage.StorageReadOnly, "30"),
        (storage.StorageDamaged, "30"),
    ],
)
def test_storage_troubles_say_when_to_come_back(cls, seconds):
    answer = problem_of(cls("x"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, seconds)


def test_unforeseen_errors_tell_nothing():
    answer = problem_of(RuntimeError("password=hunter2"))
    assert answer.status_code == 500
    assert b"hunter2" not in bytes(answer.body)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", f"{ROOT}/searches", 405, "method_not_allowed"),
        ("GET", f"{ROOT}/searches/none", 404, "not_found"),
        ("GET", f"{ROOT}/searches?limit=0", 422, "invalid_input"),
        ("GET", f"{ROOT}/searches/%00", 422, "invalid_input"),
        ("GET", f"{ROOT}/searches?cursor=nonsense", 422, "invalid_input"),
        ("GET", f"{ROOT}/zoo?space=mars", 404, "not_found"),
    ],
)
def test_framework_and_domain_errors_are_problems(tmp_path: Path, method, path, status, code):
    with client(tmp_path) as http:
        answer = http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (f"{ROOT}/tokens", "GET, POST"),
        (f"{ROOT}/searches/none", "DELETE, GET, PATCH"),
        (f"{ROOT}/searches/none/pause", "POST"),
        ("/healthz", "GET"),
    ],
)
def test_a_wrong_method_is_told_all_right_ones(tmp_path: Path, path, allowed):
    with client(tmp_path) as http:
        answer = http.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_failing_route_is_a_problem_with_headers(tmp_path: Path):
    with client(tmp_path) as http:

        def fail() -> None:
            raise RuntimeError("secret")

        http.app.add_api_route("/fail", fail)
        answer = http.get("/fail")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
