import math
import re

import pytest

from brainformer.api.report.report import policy
from brainformer.api.report.svg_scatter import Axis, Point, scatter
from tests.api.rest_site import (
    ROOT,
    claim,
    client,
    create,
    finish,
    to_candidates,
)


def test_the_report_stands_alone_and_tells_the_best(tmp_path):
    with client(tmp_path) as http:
        search = create(http)
        lease = to_candidates(http)
        finish(http, lease, validation_loss=1.5)
        for index in range(8):
            finish(http, claim(http)[0], validation_loss=1.9, step_time_ms=18 + index / 4)
        answer = http.get(f"{ROOT}/searches/{search['id']}/report")
    page = answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert search["id"] in answer.headers["content-disposition"]
    assert f"Trial {lease['trial_number']} not confirmed: fitness +0.5000 in the single run" in page
    assert page.count("<circle") == 10 + 9  # all runs over trials, candidates over step time
    assert page.count('<li class="') == len(lease["genome"]["layers"])
    assert re.findall(r"<script[^>]*>", page) == [
        '<script type="application/json" id="report-data">',
        "<script>",
    ]
    assert not re.search(r"""\b(?:src|href)=["']|url\(|@import|\beval\(|new Function""", page)
    rules = dict(rule.split(" ", 1) for rule in policy().split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].startswith("'sha256-")
    assert f'content="{policy()}"' in page
    assert answer.headers["content-security-policy"] == f"{policy()}; frame-ancestors 'none'"


def test_the_report_says_how_sure_the_best_is_and_never_wholly(tmp_path):
    with client(tmp_path) as http:
        race = {"baseline_repeats": 3, "confirmations": 1, "confirmation_repeats": 3}
        create(http, limits={"trials": 1}, confirmation_limit=3, **race)
        for loss in (2.0, 2.01, 1.99):
            finish(http, claim(http)[0], validation_loss=loss)
        finish(http, claim(http)[0], validation_loss=1.2)  # a lucky run, which does not count
        for loss in (2.0, 1.5, 2.01, 1.51, 1.99, 1.49):  # the rival and the block in turns
            finish(http, claim(http)[0], validation_loss=loss)
        page = http.get(f"{ROOT}/searches/laptop/report").text
    assert "beats the baseline by +0.5000" in page
    assert "over 99% sure (one-sided), 3 fresh runs against the baseline&#x27;s 3" in page


def test_a_search_without_results_has_a_report(tmp_path):
    with client(tmp_path) as http:
        create(http)
        answer = http.get(f"{ROOT}/searches/laptop/report")
        assert answer.status_code == 200
        assert "No candidate has completed" in answer.text
        assert http.get(f"{ROOT}/searches/none/report").status_code == 404


def test_words_of_workers_are_escaped_in_the_report(tmp_path):
    with client(tmp_path) as http:
        create(http, pools=["cpu"])
        lease = claim(http)[0]
        evil = {"outcome": "error", "message": "<script>alert(1)</script>"}
        for _ in range(5):
            http.post(f"{ROOT}/leases/{lease['lease_id']}/result", json=evil)
            lease = (claim(http) or [lease])[0]
        page = http.get(f"{ROOT}/searches?limit=1").json()["items"][0]
        report = http.get(f"{ROOT}/searches/{page['id']}/report").text
    assert "alert(1)" in page["reason"]
    assert "<script>alert" not in report
    assert "&lt;script&gt;" in report


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [-3.5, 12.25], [1e-9, 2e-9], [1e6, 3e6]])
def test_an_axis_holds_all_values_and_has_round_ticks(values):
    axis = Axis.over(values, 0, 100)
    assert all(0 <= axis.at(value) <= 100 for value in values)
    assert 3 <= len(axis.ticks()) <= 8
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())


def test_a_plot_draws_every_point_and_escapes_labels():
    points = [Point(x=i, y=math.sin(i), kind="dot", label="<b>") for i in range(5)]
    drawn = scatter(points, x_label="a < b", y_label="y", guides=[2.0])
    assert drawn.count("<circle") == 5
    assert "<b>" not in drawn
    assert "a &lt; b" in drawn


def test_an_undertrained_rival_and_an_edge_are_told(tmp_path):
    with client(tmp_path) as http:
        search = create(http, proxy={"preset": "nano", "budget_seconds": 1})
        path = f"{ROOT}/searches/{search['id']}"
        assert http.get(f"{path}/soundness").json()["rival_tokens_per_parameter"] == {}
        finish(http, to_candidates(http), tokens=1_000_000)
        found = http.get(f"{path}/soundness").json()
        assert 0 < found["rival_tokens_per_parameter"]["cpu"] < 5
        assert found["best_tokens_per_parameter"] > 5
        assert "the rival on cpu is undertrained" in found["notes"][0]
        assert "the rival on cpu is undertrained" in http.get(f"{path}/report").text


def test_a_rival_trained_long_enough_is_nothing_to_mind(tmp_path):
    with client(tmp_path) as http:
        search = create(http, proxy={"preset": "nano", "budget_seconds": 3600})
        finish(http, to_candidates(http), tokens=1_000_000)
        found = http.get(f"{ROOT}/searches/{search['id']}/soundness").json()
        assert found["rival_tokens_per_parameter"]["cpu"] > 5
        assert not any("undertrained" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({"space": "nano", "proxy": "nano"}, False),
        ({"space": "one-gpu", "proxy": "one-gpu"}, True),
        ({"space": "one-gpu", "proxy": {"preset": "one-gpu", "vocab_size": 512}}, True),
        ({"space": "one-gpu", "proxy": {"preset": "one-gpu", "peak_learning_rate": 4e-4}}, False),
        (
            {
                "space": "one-gpu",
                "proxy": "one-gpu",
                "baseline": {"family": "glam", "learning_rates": [0.5, 1, 2]},
            },
            False,
        ),
    ],
)
def test_a_learning_rate_that_nobody_has_tuned_is_told(tmp_path, changes, is_told):
    with client(tmp_path) as http:
        search = create(http, **changes)
        found = http.get(f"{ROOT}/searches/{search['id']}/soundness").json()
    assert any("nobody has tuned" in note for note in found["notes"]) == is_told


def test_spaces_tell_their_proxy_and_whether_it_was_tuned(tmp_path):
    with client(tmp_path) as http:
        items = http.get(f"{ROOT}/spaces").json()["items"]
    assert {one["name"]: one["tuned"] for one in items} == {
        "brainformer-100m32e": False,
        "nano": True,
        "one-gpu": False,
    }
    assert all(one["proxy"]["budget_seconds"] >= 20 for one in items)
