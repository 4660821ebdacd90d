"""The alert rules and the board: what they ask for is what the controller offers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from brainformer.api.app import create_app
from brainformer.api.server import configuration
from brainformer.api.settings import load_settings
from tests.deploy.chart import CHART
from tests.deploy.tools import run_tool
from tests.repository import REPOSITORY

ALERTS = CHART / "files" / "alerts.yaml"
BOARD = CHART / "files" / "board.json"
MONITORING = "--set=monitoring.rules=true,monitoring.dashboard=true,monitoring.labels.release=p"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(BOARD.read_text())["panels"]
    return found


def questions() -> list[str]:
    """Returns every expression of the rules and of the board."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + asked


@pytest.fixture(scope="module")
def offered(tmp_path_factory) -> set[str]:
    """The names of all samples that a controller offers, with a search in every status."""
    folder = tmp_path_factory.mktemp("controller")
    settings = load_settings(None, database_url=f"sqlite:///{folder / 'metrics.db'}")
    app = create_app(settings)
    configuration(app, settings)  # what serves it has figures of its own
    with TestClient(app, base_url="http://localhost") as http:
        made = http.post(
            "/api/v1/searches",
            json={"name": "watched", "space": "nano", "limits": {"trials": 20}},
            headers={"Idempotency-Key": "once", "Origin": "http://localhost"},
        )
        assert made.status_code == 201, made.text
        text = http.get("/metrics").text
    names = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    samples = {f"{name}_{part}" for name in names for part in ("bucket", "sum", "count")}
    return names | samples


def test_every_metric_that_is_asked_for_is_offered(offered):
    asked = {name for each in questions() for name in re.findall(r"\bbrainformer_\w+", each)}
    assert len(asked) > 10
    assert asked <= offered


def test_every_rule_says_what_is_wrong_and_what_to_do():
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 5
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["for"]


def test_the_boards_panels_lie_side_by_side():
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_the_board_leaves_the_choice_of_prometheus_to_its_reader():
    (variable,) = json.loads(BOARD.read_text())["templating"]["list"]
    assert variable["type"] == "datasource"
    for panel in panels():
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${source}"}


def test_the_chart_mounts_rules_and_board_as_they_are(tmp_path):
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (chart / "files" / "other.yaml").write_text("scrape_configs: []\n")
    told = run_tool("helm", "template", "brainformer", chart, MONITORING)
    assert told.returncode == 0, told.stderr
    found = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(told.stdout) if d}
    mounted = found["PrometheusRule", "brainformer-alerts"]
    assert mounted["spec"] == yaml.safe_load(ALERTS.read_text())
    assert mounted["metadata"]["labels"]["release"] == "p"
    assert ("PrometheusRule", "brainformer-other") not in found
    board = found["ConfigMap", "brainformer-board"]
    assert json.loads(board["data"]["board.json"]) == json.loads(BOARD.read_text())


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"brainformer_{name}{{{inside}}}", "values": values}


UP = series("database_up", "1+0x600")
TROUBLES = {
    "BrainformerControllerMissing": [],
    "BrainformerDatabaseDown": [series("database_up", "0+0x600")],
    "BrainformerCannotWrite": [UP, series("database_writable", "0+0x600")],
    "BrainformerTaskFails": [
        *(
            UP,
            series("task_up", "0+0x600", task="reaper"),
            series("task_up", "1+0x600", task="pulse"),
        )
    ],
    "BrainformerNoRoom": [
        *(UP, series("pool_threads_taken", "40+0x600", pool="requests")),
        series("pool_threads_most", "40+0x600", pool="requests"),
    ],
    "BrainformerNoWorkers": [
        *(UP, series("workers_alive", "0+0x600"), series("searches_running", "2+0x600"))
    ],
    "BrainformerNothingEnds": [
        *(UP, series("attempts_total", "7+0x600", outcome="completed")),
        series("trials_running", "3+0x600"),
    ],
    "BrainformerLeasesOverdue": [UP, series("most_overdue_lease_seconds", "400+60x600")],
    "BrainformerAttemptsFail": [
        *(UP, series("attempts_total", "0+1x600", outcome="completed")),
        series("attempts_total", "0+1x600", outcome="error"),
    ],
    "BrainformerServerErrors": [
        *(UP, series("http_requests_total", "0+90x600", status="200")),
        series("http_requests_total", "0+2x600", status="503"),
    ],
    "BrainformerProposalsSlow": [
        UP,
        series("search_seconds_bucket", "0+9x600", step="ask", le="1"),
        series("search_seconds_bucket", "0+10x600", step="ask", le="2.5"),
        series("search_seconds_bucket", "0+10x600", step="ask", le="+Inf"),
    ],
    "BrainformerWorkersIdle": [
        *(UP, series("worker_utilisation_sum", "0+4x600")),
        series("worker_utilisation_count", "0+10x600"),
    ],
}
SOUND = [
    *(UP, series("workers_alive", "5+0x600"), series("searches_running", "2+0x600")),
    *(series("database_writable", "1+0x600"), series("task_up", "1+0x600", task="reaper")),
    series("pool_threads_taken", "5+0x600", pool="requests"),
    series("pool_threads_most", "40+0x600", pool="requests"),
    series("attempts_total", "0+9x600", outcome="completed"),
    series("attempts_total", "0+1x600", outcome="error"),
    *(series("trials_running", "5+0x600"), series("most_overdue_lease_seconds", "3+0x600")),
    series("http_requests_total", "0+999x600", status="200"),
    series("http_requests_total", "0+1x600", status="500"),
    series("search_seconds_bucket", "0+10x600", step="ask", le="1"),
    series("search_seconds_bucket", "0+10x600", step="ask", le="+Inf"),
    series("worker_utilisation_sum", "0+9x600"),
    series("worker_utilisation_count", "0+10x600"),
]


def test_every_rule_has_a_trouble():
    assert set(TROUBLES) == {rule["alert"] for rule in rules()}


@pytest.mark.slow
@pytest.mark.parametrize("alert", [None, *TROUBLES])
def test_prometheus_fires_on_the_trouble_and_on_nothing_else(alert, tmp_path):
    installed = subprocess.run(
        [REPOSITORY / ".ci" / "install-promtool"], capture_output=True, text=True, check=False
    )
    assert installed.returncode == 0, installed.stderr
    told = run_tool("promtool", "check", "rules", ALERTS)
    assert told.returncode == 0, told.stdout + told.stderr
    fires = {rule["alert"]: rule["alert"] == alert for rule in rules()}
    case = {
        "interval": "1m",
        "input_series": TROUBLES[alert] if alert else SOUND,
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                "eval_time": "5h",
                "exp_samples": [{"labels": "{}", "value": int(fired)}],
            }
            for name, fired in fires.items()
        ],
    }
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": [case]}))
    told = run_tool("promtool", "test", "rules", file)
    assert told.returncode == 0, told.stdout + told.stderr
