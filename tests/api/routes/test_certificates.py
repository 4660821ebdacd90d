"""Certificates over REST and from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.search.errors import BrainformerError
from tests.api.rest_site import ROOT, claim, client, create, finish, served, to_candidates

WANTED = {"blocks": 8, "repeats": 1, "budgets": [1, 3], "scales": [1]}

PROMOTION: dict[str, Any] = {"budget_seconds": [600], "scales": [1]}


def searched(http: Any) -> str:
    """Runs a whole search of ten candidates; returns its id."""
    search = create(http, limits={"trials": 10})
    finish(http, to_candidates(http), validation_loss=1.5)
    for index in range(9):
        finish(http, claim(http)[0], validation_loss=1.6 + index / 10)
    return str(search["id"])


def run_all(http: Any, runs: int) -> None:
    for index in range(runs):
        finish(http, claim(http)[0], validation_loss=1.4 + (index % 9) / 10)


def test_a_certificate_is_made_read_and_kept_out_of_the_list_of_searches(tmp_path: Path) -> None:
    with client(tmp_path) as http:
        search = searched(http)
        made = http.post(f"{ROOT}/searches/{search}/certificates", json=WANTED)
        assert made.status_code == 201, made.text
        assert made.json()["parent_id"] == search
        assert http.get(made.headers["Location"]).json()["id"] == made.json()["id"]
        run_all(http, 18)
        (found,) = http.get(f"{ROOT}/searches/{search}/certificates").json()["items"]
        assert found["result"]["finished"] == found["result"]["planned"] == 18
        assert found["study"]["status"] == "completed"
        assert found["result"]["rows"][0]["tau"]["value"] == pytest.approx(1.0)
        listed = http.get(f"{ROOT}/searches").json()["items"]
        assert [one["id"] for one in listed] == [search]


@pytest.mark.parametrize(
    ("kind", "body", "other"),
    [
        ("certificates", WANTED, WANTED | {"repeats": 2}),
        ("promotions", PROMOTION | {"repeats": 2}, PROMOTION | {"repeats": 3}),
    ],
)
def test_a_key_makes_one_study(
    tmp_path: Path, kind: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    key = {"Idempotency-Key": "k-1"}
    with client(tmp_path) as http:
        path = f"{ROOT}/searches/{searched(http)}/{kind}"
        first, again = (http.post(path, json=body, headers=key) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201), first.text
        assert first.json()["id"] == again.json()["id"]
        refused = http.post(path, json=other, headers=key)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_mismatch")
        assert len(http.get(path).json()["items"]) == 1


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"blocks": 7}, 422, "at least 8"),
        ({"budgets": [2, 4]}, 422, "with 1, the proxy's own, among them"),
        ({"blocks": 40}, 422, "ask for fewer blocks"),
        ({"pool": "tpu"}, 409, "it has one on cpu"),
        ({"colour": "red"}, 422, "there is no such field"),
    ],
)
def test_what_cannot_be_certified_is_refused_whole(
    tmp_path: Path, change: dict[str, Any], status: int, words: str
) -> None:
    with client(tmp_path) as http:
        search = searched(http)
        answer = http.post(f"{ROOT}/searches/{search}/certificates", json=WANTED | change)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
        assert http.get(f"{ROOT}/searches/{search}/certificates").json()["items"] == []


def test_the_command_line_starts_shows_and_draws_one(tmp_path: Path) -> None:
    with served(tmp_path) as (http, _server):
        search = searched(http)

        def certify(*options: str) -> Any:
            arguments = ["certify", search, *options, "--url", str(http.base_url)]
            return CliRunner().invoke(app, arguments)

        nothing = certify("--show")
        assert isinstance(nothing.exception, BrainformerError)
        assert "start one with" in nothing.exception.message
        options = ("--blocks", "8", "--repeats", "1", "--budget", "1", "--budget", "3")
        options += ("--idempotency-key", "k-1")
        started = certify(*options, "--scale", "1")
        assert started.exit_code == 0, started.output
        assert "runs 18 trials" in started.stderr
        assert certify(*options, "--scale", "1").stdout == started.stdout
        assert "not enough runs yet" in certify("--show").stderr
        run_all(http, 18)
        plot = tmp_path / "certificate.svg"
        shown = certify("--plot", str(plot))
        assert "1.00 [1.00, 1.00]" in shown.stdout
        assert "cheapest sufficient budget: x1" in shown.stderr
        root = ElementTree.fromstring(plot.read_text())
        circles = [one for one in root.iter() if one.tag.endswith("circle")]
        assert len(circles) == 9
        assert [one.get("class") for one in circles].count("rival") == 1
