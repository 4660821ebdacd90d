"""Promotions with real training: from a search to its table, killed processes and all."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.search.store.records import PromotionRecord
from tests.worker.stack import Stack
from tests.worker.tune.test_dispatcher import drain, spec
from tests.worker.waiting import wait_for

pytestmark = pytest.mark.timed


WANTED: dict[str, Any] = {
    "top": 1,
    "scales": [1],
    "budget_seconds": [4.0],
    "repeats": 2,
    "learning_rates": [1],
    "rival_depths": [1],
    "rival_widths": [1],
    "ladder": [0.5, 1],
}


def searched(stack: Stack, name: str, trials: int) -> str:
    """Returns a search that has ended."""
    search = stack.create(spec(name, trials=trials))
    stack.wait(search, seconds=120)
    return search


def brainformer(stack: Stack, *arguments: str) -> Any:
    url = str(stack.http.base_url).removesuffix("/api/v1/")
    result = CliRunner().invoke(app, [*arguments, "--url", url])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def result_of(stack: Stack, search: str) -> PromotionRecord:
    (item,) = stack.http.get(f"/searches/{search}/promotions").json()["items"]
    return PromotionRecord.model_validate(item)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_search_is_promoted_and_its_table_is_shown(tmp_path):
    with Stack(tmp_path, slots=2, runner="train") as stack:
        search = searched(stack, "small", trials=3)
        options = ("--top", "2", "--scales", "1x,2x", "--budget", "1s,2s", "--repeats", "2")
        options += ("--learning-rates", "0.5,1", "--rival-depths", "0.5,1", "--rival-widths", "1")
        started = brainformer(stack, "promote", "small", *options, "--ladder", "0.5,1,2")
        study = started.stdout.strip()
        stack.wait(study, seconds=300)
        assert {one["status"] for one in stack.trials(study)} == {"completed"}
        found = result_of(stack, search)
        assert found.result.finished == found.result.planned
        for point in found.result.points:
            assert [len(rung.losses) for rung in point.ladder] == [2, 2, 2]
            for row in point.rows:
                assert row.runs == 2
                assert row.loss is not None
                assert 1 < row.loss < 6
                assert row.tokens is not None
                assert row.steps_per_second is not None
                assert (row.speedup is None) == (row.trial is None)
        one, two = found.result.points
        assert two.compute is not None
        assert one.compute is not None
        shown = brainformer(stack, "promote", "small", "--show")
        assert "rival at x2" in shown.stdout
        assert "rival at x2" in brainformer(stack, "report", "small").stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_promotion_outlives_killed_processes_and_a_dispatcher_s_restart(tmp_path):
    with Stack(tmp_path, slots=1, runner="train") as stack:
        search = searched(stack, "tough", trials=1)
        answer = stack.http.post(f"/searches/{search}/promotions", json=WANTED)
        assert answer.status_code == 201, answer.text
        study = answer.json()["id"]
        wait_for(lambda: trial(stack, study, 0)["status"] == "running", seconds=60)
        os.kill(stack.parts()["training"][0].pid, signal.SIGKILL)
        wait_for(lambda: outcomes(stack, study, 0)[:1] == ["error"], seconds=60)
        wait_for(lambda: trial(stack, study, 0)["measurements"].get("curve"), seconds=90)
        code, _ = drain(stack)
        assert code == 0, stack.words("worker")
        assert trial(stack, study, 0)["status"] == "queued"
        stack.restart_worker()
        stack.wait(study, seconds=200)
        assert outcomes(stack, study, 0) == ["error", "preempted", "completed"]
        assert len(trial(stack, study, 0)["measurements"]["curve"]) == 4
        found = result_of(stack, search)
        assert found.result.finished == found.result.planned == 2 * (1 + 2)
        row, rival = found.result.points[0].rows
        assert (row.runs, rival.runs) == (2, 2)
        assert found.result.points[0].notes == ()


def trial(stack: Stack, study: str, number: int) -> dict[str, Any]:
    return dict(stack.http.get(f"/searches/{study}/trials/{number}").json())


def outcomes(stack: Stack, study: str, number: int) -> list[str | None]:
    return [one["outcome"] for one in trial(stack, study, number)["attempts"]]
