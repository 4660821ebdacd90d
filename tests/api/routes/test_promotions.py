"""Promotions over REST, from the command line, from Python and in the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.api.client.client import Client
from brainformer.search.errors import BrainformerError, Conflict, InvalidSpec
from tests.api.rest_site import ROOT, claim, client, create, finish, served, to_candidates

WANTED: dict[str, Any] = {
    "top": 2,
    "scales": [1, 2],
    "budget_seconds": [600],
    "repeats": 2,
    "learning_rates": [1],
    "rival_depths": [1],
    "rival_widths": [1, 2],
    "ladder": [0.5, 1, 2],
}
# At each scale two shapes of the rival are tuned; then two seeds of two blocks and three rungs.
RUNS = 2 * (2 + 2 * (2 + 3))
OPTIONS = (
    *("--top", "2", "--scales", "1x,2x", "--budget", "10m", "--repeats", "2"),
    *("--learning-rates", "1", "--rival-depths", "1", "--rival-widths", "1,2"),
    *("--ladder", "0.5,1,2"),
)


def searched(http: Any) -> str:
    """Runs a whole search of three candidates; returns its id."""
    search = create(http, limits={"trials": 3})
    finish(http, to_candidates(http), validation_loss=1.5)
    for index in range(2):
        finish(http, claim(http)[0], validation_loss=1.6 + index / 10)
    return str(search["id"])


def run_all(http: Any) -> int:
    """Ends every run: the rival falls by 0.1 nats a doubling, blocks are twice as fast."""
    count = 0
    while leases := claim(http):
        (lease,) = leases
        trial = http.get(f"{ROOT}/searches/{lease['search_id']}/trials/{lease['trial_number']}")
        ahead = 1.0 if ": rival," in trial.json()["label"] else 1.5
        loss = 4 - 0.1 * math.log2(ahead * lease["proxy"]["budget_seconds"])
        noise = 0.004 * (-1) ** count
        finish(http, lease, validation_loss=loss + noise, tokens=10**6, steps=1000)
        count += 1
    return count


def test_a_promotion_is_made_run_and_read(tmp_path: Path) -> None:
    with client(tmp_path) as http:
        search = searched(http)
        path = f"{ROOT}/searches/{search}/promotions"
        made = http.post(path, json=WANTED)
        assert made.status_code == 201, made.text
        study = made.json()
        assert (study["kind"], study["parent_id"]) == ("promotion", search)
        assert http.get(made.headers["Location"]).json()["id"] == study["id"]
        assert run_all(http) == RUNS
        (found,) = http.get(path).json()["items"]
        assert http.get(f"{path}/{study['id']}").json() == found
        assert found["study"]["status"] == "completed"
        result = found["result"]
        assert (result["finished"], result["planned"]) == (RUNS, RUNS)
        for point in result["points"]:
            assert [row["trial"] is None for row in point["rows"]] == [False, False, True]
            for row in point["rows"][:2]:
                assert row["speedup"]["value"] == pytest.approx(1.5, rel=0.1)
                assert row["steps_per_second"] == pytest.approx(50)
                assert row["loss_interval"][0] < row["loss"] < row["loss_interval"][1]
        assert {claim["trend"] is None for claim in result["claims"]} == {False}
        listed = http.get(f"{ROOT}/searches").json()["items"]
        assert [one["id"] for one in listed] == [search]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"top": 0}, 422, "at least 1"),
        ({"top": 20}, 422, "has 3 different completed candidates"),
        ({"scales": [], "targets": []}, 422, "needs scales, targets or both"),
        ({"scales": [2, 2]}, 422, "duplicate choice"),
        ({"scales": [], "targets": [1000]}, 422, "nothing comes within 5%"),
        ({"budget_seconds": [0.1]}, 422, "are needed"),
        ({"pool": "tpu"}, 409, "it has one on cpu"),
        ({"targets": [{"parameters": 10**9, "colour": "red"}]}, 422, "colour"),
        ({"colour": "red"}, 422, "there is no such field"),
        (
            {"targets": [{"parameters": 10**9, "dataset": "books", "vocab_size": 99}]},
            422,
            "no data set of that name is known here",
        ),
        ({"scales": [], "targets": [10**12]}, 422, "setting max_parameters"),
    ],
)
def test_what_cannot_be_promoted_is_refused_whole(
    tmp_path: Path, change: dict[str, Any], status: int, words: str
) -> None:
    with client(tmp_path) as http:
        search = searched(http)
        path = f"{ROOT}/searches/{search}/promotions"
        answer = http.post(path, json=WANTED | change)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
        assert http.get(path).json()["items"] == []


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with client(tmp_path) as http:
        search = searched(http)
        for name in ("none", "%00", search):
            assert http.get(f"{ROOT}/searches/{search}/promotions/{name}").status_code == 404
        assert http.post(f"{ROOT}/searches/none/promotions", json=WANTED).status_code == 404


def test_a_promotion_is_in_the_report(tmp_path: Path) -> None:
    with client(tmp_path) as http:
        search = searched(http)
        assert "Promotion laptop" not in http.get(f"{ROOT}/searches/{search}/report").text
        assert http.post(f"{ROOT}/searches/{search}/promotions", json=WANTED).status_code == 201
        run_all(http)
        page = http.get(f"{ROOT}/searches/{search}/report").text
    assert "Promotion laptop-promotion-1" in page
    assert "rival at x2" in page
    assert "d ln S / d ln C" in page
    assert 'class="rival"' in page


def test_the_command_line_starts_shows_and_draws_one(tmp_path: Path) -> None:
    with served(tmp_path) as (http, _server):
        search = searched(http)

        def promote(*options: str) -> Any:
            arguments = ["promote", search, *options, "--url", str(http.base_url)]
            return CliRunner().invoke(app, arguments)

        nothing = promote("--show")
        assert isinstance(nothing.exception, BrainformerError)
        assert "start one with" in nothing.exception.message
        started = promote(*OPTIONS)
        assert started.exit_code == 0, started.output
        assert f"runs about {RUNS} trials" in started.stderr
        assert "x2 10 min" in started.stderr
        study = started.stdout.strip()
        early = promote("--show")
        assert early.exit_code == 0, early.output
        assert "has no fresh runs so far" in early.stderr
        run_all(http)
        plot = tmp_path / "ladder.svg"
        shown = promote("--promotion", study, "--plot", str(plot))
        assert shown.exit_code == 0, shown.output
        assert "rival at x1" in shown.stdout
        assert "effective speedup is above 1 at 95%" in shown.stderr
        root = ElementTree.fromstring(plot.read_text())
        circles = [one for one in root.iter() if one.tag.endswith("circle")]
        assert len(circles) == 2 * 2 * (2 + 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "needs a budget"),
        (("--budget", "soon"), "times above 0 such as"),
        (("--budget", "0s"), "times above 0 such as"),
        (("--budget", "10m", "--scales", "big"), "multiples above 0"),
        (("--budget", "10m", "--ladder", "0,1"), "multiples above 0"),
        (("--budget", "10m", "--target", "huge"), "a count is a number"),
        (("--budget", "10m", "--target", "no/such.yaml"), "cannot read the target"),
        (("--budget", "10m", "--top", "0"), "at least 1"),
        (("--budget", "10m", "--target", "1K"), "nothing comes within 5%"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    with served(tmp_path) as (http, _server):
        search = searched(http)
        arguments = ["promote", search, *options, "--url", str(http.base_url)]
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, BrainformerError), result.output
        assert words in result.exception.message


def test_python_starts_waits_for_and_reads_one(tmp_path: Path) -> None:
    with served(tmp_path) as (http, _server):
        search = Client(str(http.base_url)).search(searched(http))
        with pytest.raises(InvalidSpec, match="budget_seconds"):
            search.promote(scales=[1])
        with pytest.raises(Conflict, match="it has one on cpu"):
            search.promote(pool="tpu", **WANTED)
        study = search.promote(idempotency_key="k-1", **WANTED)
        assert search.promote(idempotency_key="k-1", **WANTED).id == study.id
        run_all(http)
        assert study.wait(progress=False, timeout_seconds=20).status == "completed"
        (found,) = search.promotions()
        assert found.study.id == study.id
        assert [claim.trial for claim in found.result.claims] == [1, 2]
