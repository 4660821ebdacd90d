import json
from pathlib import Path

import pytest

from tests.api.rest_site import (
    ROOT,
    claim,
    client,
    create,
    finish,
    token,
)


@pytest.fixture
def site(database_url):
    """A search of one baseline and 12 finished candidates, one of them pruned, one running."""
    with client(Path(), database_url=database_url) as http:
        search = create(http)
        finish(http, claim(http)[0], validation_loss=2.5)
        for index in range(11):
            lease = claim(http)[0]
            finish(http, lease, validation_loss=2.4 - 0.01 * (index % 5), step_time_ms=9 + index)
        slow = claim(http)[0]
        finish(http, slow, validation_loss=2.0, step_time_ms=500.0)
        http.app.state.running = claim(http)[0]["lease_id"]
        yield http, f"{ROOT}/searches/{search['id']}"


def all_pages(http, path, **params) -> list[dict]:
    found, cursor = [], None
    while True:
        asked = params | ({"cursor": cursor} if cursor else {})
        answer = http.get(f"{path}/trials", params=asked)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("sort", ["number", "fitness", "step_time_ms", "parameters", "seq"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_pages_of_every_sort_hold_every_trial_once_in_order(site, sort, sign):
    http, path = site
    found = all_pages(http, path, sort=sign + sort, limit=3)
    assert sorted(row["number"] for row in found) == list(range(14))
    values = [
        row["measurements"].get(sort) if sort == "step_time_ms" else row[sort] for row in found
    ]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=bool(sign))
    assert values == known + [None] * (len(values) - len(known))  # missing ones come last


def test_filters_are_joined(site):
    http, path = site
    assert [row["kind"] for row in all_pages(http, path, kind="baseline")] == ["baseline"]
    assert [row["status"] for row in all_pages(http, path, status="running")] == ["running"]
    ended = all_pages(http, path, status=["completed", "pruned"], kind="candidate")
    assert len(ended) == 12
    assert all_pages(http, path, pool="elsewhere") == []
    assert len(all_pages(http, path, pool="cpu")) == 14


@pytest.mark.parametrize(
    "query",
    ["sort=name", "status=gone", "limit=0", "limit=1001", "after_seq=-1", "cursor=%00",
     "cursor=abc", "pool=A", "after_seq=9007199254740993"],
)  # fmt: skip
def test_a_bad_query_is_a_problem(site, query):
    http, path = site
    answer = http.get(f"{path}/trials?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_a_cursor_of_another_sort_is_refused(site):
    http, path = site
    cursor = http.get(f"{path}/trials", params={"limit": 1}).json()["next_cursor"]
    answer = http.get(f"{path}/trials", params={"cursor": cursor, "sort": "-fitness"})
    assert answer.status_code == 422


def test_after_seq_gives_what_changed_since(site):
    http, path = site
    before = all_pages(http, path)
    newest = max(row["seq"] for row in before)
    assert all_pages(http, path, after_seq=newest) == []
    running = next(row for row in before if row["status"] == "running")
    finish(http, {"lease_id": http.app.state.running}, validation_loss=2.2)
    changed = all_pages(http, path, after_seq=newest, limit=1)
    assert [row["number"] for row in changed] == [running["number"]]
    assert changed[0]["seq"] > newest
    # Page by page from nothing, in the order of change.
    everything = all_pages(http, path, after_seq=0, limit=4)
    assert [row["seq"] for row in everything] == sorted(row["seq"] for row in everything)
    assert len(everything) == 14


def test_listings_leave_curves_to_the_trial_itself(site):
    http, path = site
    assert all(row["measurements"]["curve"] == [] for row in all_pages(http, path))
    detail = http.get(f"{path}/trials/1").json()
    assert len(detail["measurements"]["curve"]) == 1
    assert [attempt["accepted"] for attempt in detail["attempts"]] == [True]


def test_a_mutation_tells_what_differs_from_its_parent(site):
    http, path = site
    children = [row for row in all_pages(http, path) if row["parent_number"] is not None]
    assert children
    for row in children:
        detail = http.get(f"{path}/trials/{row['number']}").json()
        assert detail["changes"]
        line = http.get(f"{path}/trials/{row['number']}/ancestry").json()["items"]
        assert [one["number"] for one in line[:2]] == [row["number"], row["parent_number"]]
        assert line[-1]["parent_number"] is None


def test_population_front_and_best_are_what_the_trials_say(site):
    http, path = site
    rows = all_pages(http, path)
    population = http.get(f"{path}/population").json()["items"]
    assert [one["number"] for one in population] == [
        row["number"] for row in rows if row["in_population"]
    ]
    assert len(population) == 6
    done = [row for row in rows if row["kind"] == "candidate" and row["status"] == "completed"]

    def costs(row):
        return -row["fitness"], row["measurements"]["step_time_ms"], row["parameters"]

    def beaten(row):
        return any(
            costs(other) != costs(row)
            and all(one <= own for one, own in zip(costs(other), costs(row), strict=True))
            for other in done
        )

    front = http.get(f"{path}/pareto").json()["items"]
    assert {one["number"] for one in front} == {row["number"] for row in done if not beaten(row)}
    best = http.get(f"{path}/best").json()
    assert best["trial"]["fitness"] == max(row["fitness"] for row in done)
    assert http.get(f"{path}/baselines").json()["items"][0]["validation_loss"] == 2.5


def test_the_export_is_one_trial_a_line_curves_included(site):
    http, path = site
    answer = http.get(f"{path}/trials.jsonl")
    assert answer.headers["content-type"].startswith("application/jsonl")
    assert "attachment" in answer.headers["content-disposition"]
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["number"] for row in rows] == list(range(14))
    assert len(rows[0]["measurements"]["curve"]) == 1
    only = http.get(f"{path}/trials.jsonl", params={"status": "pruned"}).text.splitlines()
    assert len(only) == 1


def test_the_export_reads_on_beyond_its_page(site, monkeypatch):
    http, path = site
    monkeypatch.setattr("brainformer.api.routes.trials.EXPORT_PAGE", 4)
    numbers = [
        json.loads(line)["number"]
        for line in http.get(f"{path}/trials.jsonl", params={"sort": "-number"}).text.splitlines()
    ]
    assert numbers == list(range(13, -1, -1))


@pytest.mark.parametrize(
    "path", ["trials/99", "trials/99/ancestry", "trials/2147483647", "nothing"]
)
def test_what_is_not_there_is_not_found(site, path):
    http, root = site
    assert http.get(f"{root}/{path}").status_code == 404


def test_a_search_without_candidates_has_no_best(tmp_path):
    with client(tmp_path) as http:
        path = f"{ROOT}/searches/{create(http)['id']}"
        assert http.get(f"{path}/best").status_code == 404
        assert http.get(f"{path}/population").json() == {"items": []}
        assert http.get(f"{path}/pareto").json() == {"items": []}


def test_a_repeat_is_made_where_it_is_found_and_refused_in_one_sentence(site):
    http, path = site
    made = http.post(f"{path}/trials/3/repeats")
    assert made.status_code == 201, made.text
    assert http.get(made.headers["Location"]).json() == made.json() | {
        "attempts": [],
        "changes": [],
        "equal_tokens": None,
    }
    assert (made.json()["kind"], made.json()["parent_number"]) == ("repeat", 3)
    refused = http.post(f"{path}/trials/0/repeats")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert http.post(f"{path}/trials/999/repeats").status_code == 404


def test_a_token_that_reads_repeats_nothing(tmp_path):
    reader = token(tmp_path, "read")
    with client(tmp_path) as http:
        told = {"Authorization": f"Bearer {reader}"}
        answer = http.post(f"{ROOT}/searches/any/trials/1/repeats", headers=told)
        assert answer.status_code == 403, answer.text
