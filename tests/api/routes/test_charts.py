"""What pictures are drawn from, over REST, of a search on two pools of very different speed."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from tests.api.dashboard.site import ScriptedWorker

SLOW, FAST = "cpu", "h200"
LOSS = {SLOW: 3.0, FAST: 2.0}
STEP = {SLOW: 400.0, FAST: 10.0}


@pytest.fixture
def search(worker: ScriptedWorker) -> str:
    """A search on two pools: a baseline on each, then candidates with known gains."""
    made = worker.create_search(step_time_slack=0.5, hurdle=False)
    for pool in (SLOW, FAST):
        for loss in (LOSS[pool], LOSS[pool] + 0.01):
            finish(worker, pool, loss, STEP[pool])
    for pool, gain, ratio in (
        (SLOW, 0.10, 1.0),
        (SLOW, 0.20, 1.2),
        (FAST, 0.15, 0.9),
        (FAST, -0.05, 1.1),
        (FAST, 0.30, 1.3),
        (SLOW, 0.05, 0.8),
        (FAST, 0.12, 0.7),
    ):
        finish(worker, pool, LOSS[pool] + 0.005 - gain, ratio * (STEP[pool]))
    return made


def claim(worker: ScriptedWorker, pool: str) -> dict[str, Any]:
    body = {"worker_id": f"on-{pool}", "pool": pool}
    [lease] = worker.http.post("/leases/claim", json=body).json()["leases"]
    return dict(lease)


def finish(worker: ScriptedWorker, pool: str, loss: float, step_time_ms: float) -> int:
    lease = claim(worker, pool)
    worker.finish(lease, loss=loss, step_time_ms=step_time_ms)
    return int(lease["trial_number"])


def get(worker: ScriptedWorker, search: str, picture: str, **query: Any) -> dict[str, Any]:
    answer = worker.http.get(f"/searches/{search}/charts/{picture}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def column(points: dict[str, list[Any]], name: str) -> dict[int, Any]:
    return dict(zip(points["number"], points[name], strict=True))


def test_everything_is_relative_to_its_own_pool(worker, search):
    whole = get(worker, search, "overview")
    fitness, pool = (column(whole["points"], name) for name in ("fitness", "pool"))
    kind = column(whole["points"], "kind")
    repeats = {n: fitness[n] for n in fitness if kind[n] == "baseline"}
    assert sorted(repeats.values()) == pytest.approx([-0.005, -0.005, 0.005, 0.005])
    gains = sorted(value for n, value in fitness.items() if kind[n] == "candidate")
    assert gains == pytest.approx([-0.05, 0.05, 0.10, 0.12, 0.15, 0.20, 0.30])
    assert {whole["pools"][at] for at in pool.values()} == {SLOW, FAST}
    levels = {level["pool"]: level for level in whole["levels"]}
    assert levels[FAST]["step_time_ms"] == pytest.approx(10.0)
    assert levels[SLOW]["limit_ms"] == pytest.approx(600.0)
    front = get(worker, search, "front")
    ratios = dict(zip(front["number"], front["ratio"], strict=True))
    assert all(0.5 < ratio < 1.5 for ratio in ratios.values())
    by_pool = {name: [] for name in (SLOW, FAST)}
    for at, value in zip(front["pool"], front["fitness"], strict=True):
        by_pool[front["pools"][at]].append(value)
    assert by_pool[SLOW] == pytest.approx([0.05, 0.10, 0.20])
    assert by_pool[FAST] == pytest.approx([0.12, 0.15, 0.30])


def test_a_pool_alone_and_a_stretch_alone_are_what_is_asked_for(worker, search):
    alone = get(worker, search, "overview", pool=FAST)
    assert {alone["pools"][at] for at in alone["points"]["pool"]} == {FAST}
    numbers = get(worker, search, "overview")["points"]["number"]
    part = get(worker, search, "overview", first=numbers[3], last=numbers[5])
    assert part["points"]["number"] == numbers[3:6]
    assert get(worker, search, "overview", pool="nothing")["points"]["number"] == []


def test_a_pruned_trial_has_no_fitness_in_a_picture(worker, search):
    lease = claim(worker, SLOW)
    worker.report(
        lease,
        {"outcome": "pruned", "message": "hurdle: 3.2 is above 3.1", "measurements": {}},
    )
    number = lease["trial_number"]
    stored = worker.http.get(f"/searches/{search}/trials/{number}").json()
    assert stored["fitness"] == -1.0
    points = get(worker, search, "overview")["points"]
    assert column(points, "fitness")[number] is None
    assert column(points, "status")[number] == "pruned"
    worst = get(worker, search, "table", sort="fitness")["items"]
    assert worst[0]["number"] != number
    assert worst[-1]["fitness"] in (-1.0, None)


def test_a_difference_holds_what_changed_and_nothing_else(worker, search):
    before = get(worker, search, "overview")
    assert before["whole"]
    nothing = get(worker, search, "overview", after_seq=before["seq"])
    assert (nothing["points"]["number"], nothing["whole"]) == ([], False)
    number = finish(worker, SLOW, 2.5, 400.0)
    change = get(worker, search, "overview", after_seq=before["seq"])
    assert change["points"]["number"] == [number]
    assert change["points"]["fitness"] == pytest.approx([0.505])
    assert change["seq"] > before["seq"]
    assert change["kinds"]["candidate"]["completed"] == 8


def test_running_best_rises_only(worker, search):
    best = get(worker, search, "overview")["best"]
    assert best["fitness"] == pytest.approx([0.10, 0.20, 0.30])
    slow = get(worker, search, "overview", pool=SLOW)["best"]
    assert slow["fitness"] == pytest.approx([0.10, 0.20])
    spark = get(worker, search, "spark")["best"]
    known = [value for value in spark if value is not None]
    assert known == sorted(known)
    assert known[-1] == pytest.approx(0.30)


def test_table_is_sorted_and_filtered_by_the_controller(worker, search):
    def numbers(**query):
        found = get(worker, search, "table", **query)
        return [row["number"] for row in found["items"]], found["total"]

    every, total = numbers(sort="number")
    assert every == sorted(every)
    assert len(every) == total == 11
    best, _ = numbers(sort="-fitness", limit=1)
    points = get(worker, search, "overview")["points"]
    assert column(points, "fitness")[best[0]] == pytest.approx(0.30)
    assert numbers(sort="number", offset=3, limit=2) == (every[3:5], 11)
    assert numbers(word="baseline")[1] == 4
    assert numbers(word=["baseline", FAST])[1] == 2
    assert numbers(word=f"#{every[4]}") == ([every[4]], 1)
    assert numbers(word="attention", sort="number") == numbers(word="ATTENTION", sort="number")
    assert numbers(word="100%")[1] == 0
    child = next(row for row in get(worker, search, "table")["items"] if row["parent_number"])
    assert child["number"] in numbers(word=f"parent:{child['parent_number']}")[0]
    assert child["number"] in numbers(word=child["digest"][:10])[0]
    front = worker.http.get(f"/searches/{search}/pareto").json()["items"]
    assert sorted(numbers(word="front")[0]) == sorted(one["number"] for one in front)


def test_table_refuses_a_sort_that_it_does_not_have(worker, search):
    answer = worker.http.get(f"/searches/{search}/charts/table", params={"sort": "beauty"})
    assert answer.status_code == 422
    assert "fitness" in answer.json()["detail"]


def test_failures_are_grouped_whatever_their_numbers(worker, search):
    for size in (11, 12, 13):
        lease = claim(worker, SLOW)
        message = f"out of memory: {size}.5 GiB of 10 GiB"
        told = {"outcome": "out_of_memory", "message": message, "traceback": f"line {size}"}
        worker.report(lease, told)
    lease = claim(worker, SLOW)
    worker.report(lease, {"outcome": "diverged", "message": "the loss is not finite"})
    groups = get(worker, search, "failures")["items"]
    assert [(group["outcome"], group["count"]) for group in groups] == [
        ("out_of_memory", 3),
        ("diverged", 1),
    ]
    assert groups[0]["traceback"] == "line 13"
    assert groups[0]["message"] == "out of memory: 13.5 GiB of 10 GiB"
    assert groups[0]["pools"] == [SLOW]


def test_lineage_holds_the_line_of_the_best_and_a_subtree_its_descendants(worker, search):
    whole = get(worker, search, "lineage")
    parents = dict(zip(whole["number"], whole["parent"], strict=True))
    child = next(number for number, parent in parents.items() if parent is not None)
    parent = parents[child]
    assert parent in parents
    below = get(worker, search, "lineage", root=parent)
    assert {parent, child} <= set(below["number"])
    assert all(parents.get(n) in below["number"] for n in below["number"] if n != parent)
    for young, old in zip(whole["best"], whole["best"][1:], strict=False):
        assert parents[young] == old
    assert worker.http.get(f"/searches/{search}/charts/lineage?root=9999").status_code == 404


def test_gains_compare_children_with_parents_of_their_own_pool(worker, search):
    found = get(worker, search, "gains")
    trials = worker.trials(search)
    wanted = {}
    for trial in trials.values():
        parent = trials.get(trial["parent_number"])
        if parent is not None and parent["pool"] == trial["pool"]:
            wanted[trial["number"]] = trial["fitness"] - parent["fitness"]
    assert sum(group["pairs"] for group in found["operators"]) == len(wanted)
    total = sum(g["mean"] * g["pairs"] for g in found["operators"] if g["pairs"])
    assert total == pytest.approx(math.fsum(wanted.values()), abs=1e-9)
    assert all(group["operator"] != "other" for group in found["operators"])


def test_composition_and_costs_tell_what_blocks_are_made_of(worker, search):
    found = get(worker, search, "composition")
    assert sum(found["count"]) == 7
    for at in range(len(found["count"])):
        shares = [values[at] for values in found["kinds"].values()]
        assert sum(shares) == pytest.approx(1, abs=1e-3)
    trial = next(one for one in worker.trials(search).values() if one["kind"] == "candidate")
    costs = get(worker, search, f"costs/{trial['number']}")
    kinds = [layer["kind"] for layer in trial["genome"]["layers"]]
    assert [item["kind"] for item in costs["items"]] == kinds
    assert all(item["flops_per_token"] > 0 for item in costs["items"])


def test_ancestors_are_told_from_the_trial_to_the_first_with_the_parents_block(worker, search):
    for _ in range(14):
        finish(worker, FAST, LOSS[FAST], STEP[FAST])
    lease = claim(worker, FAST)
    worker.report(lease, {"outcome": "pruned", "message": "slow", "measurements": {}})
    trials = worker.trials(search)
    line = [lease["trial_number"]]
    while trials[line[-1]]["parent_number"] is not None:
        line.append(trials[line[-1]]["parent_number"])
    assert len(line) > 1
    found = get(worker, search, f"ancestors/{line[0]}")
    assert found["number"] == line
    assert found["status"] == [trials[one]["status"] for one in line]
    assert found["mutation"] == [trials[one]["mutation"] for one in line]
    assert found["origin"] == [trials[one]["origin"] for one in line]
    assert found["fitness"] == [None, *(trials[one]["fitness"] for one in line[1:])]
    assert found["parent"] == trials[line[1]]["genome"]
    first = get(worker, search, f"ancestors/{line[-1]}")
    assert (first["number"], first["parent"]) == (line[-1:], None)
    assert worker.http.get(f"/searches/{search}/charts/ancestors/999").status_code == 404


def test_curves_of_a_pool_are_its_rivals_and_its_best(worker, search):
    trials = worker.trials(search)
    found = get(worker, search, "curves", pool=FAST)
    of_pool = [one for one in trials.values() if one["pool"] == FAST]
    baselines = [one["number"] for one in of_pool if one["kind"] == "baseline"]
    candidates = [one for one in of_pool if one["kind"] == "candidate"]
    best = sorted(candidates, key=lambda one: one["fitness"], reverse=True)
    assert found["rival"]["number"] == max(baselines)
    assert len(found["rival"]["measurements"]["curve"]) == 5
    assert found["number"] == [one["number"] for one in best]
    assert [len(curve) for curve in found["curve"]] == [5] * len(best)
    for _ in range(20):
        finish(worker, FAST, LOSS[FAST], STEP[FAST])
    assert len(get(worker, search, "curves", pool=FAST)["number"]) == 12
    nothing = get(worker, search, "curves", pool="elsewhere")
    assert (nothing["rival"], nothing["number"], nothing["curve"]) == (None, [], [])


def test_machines_tell_who_did_what(worker, search):
    spans = get(worker, search, "machines")
    assert set(spans["worker"]) == {"on-cpu", "on-h200"}
    assert len(spans["number"]) == 11
    assert all(end >= begin for begin, end in zip(spans["started"], spans["finished"], strict=True))


@pytest.mark.parametrize("picture", ["overview", "front", "gains", "composition", "lineage"])
def test_pictures_of_a_search_without_trials_are_empty_and_of_none_are_404(worker, picture):
    empty = worker.create_search(name="empty")
    get(worker, empty, picture)
    assert worker.http.get(f"/searches/nothing/charts/{picture}").status_code == 404


def test_the_report_draws_every_pool_against_its_own_baseline(worker, search):
    html = worker.http.get(f"/searches/{search}/report").text
    drawing = html.split("Gain against step time")[1].split("</svg>")[0]
    told = re.findall(r"<title>trial (\d+): ([\d.]+), (-?[\d.e-]+)</title>", drawing)
    ratios = {int(number): float(ratio) for number, ratio, _ in told}
    assert len(ratios) == 7
    assert all(0.6 < ratio < 1.4 for ratio in ratios.values())
    assert {f"● {SLOW}", f"● {FAST}"} <= set(re.findall(r"● \w+", html))
    assert "pool-0" in drawing
    assert "pool-1" in drawing
