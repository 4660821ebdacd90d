"""docs/deploy.md: the commands, files, values and settings that it names exist."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from brainformer.api.settings import Settings
from tests.deploy.chart import CHART, documents, template
from tests.deploy.command_line import assert_known
from tests.repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "deploy.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    """Returns every call of brainformer in a block or within a sentence."""
    shell = " ".join(BLOCKS).replace("\\\n", " ")
    found = re.findall(r"(?:^|\s|/bin/)brainformer ((?:\w+ )?(?:-f )?[^\n#&|]*)", shell)
    spans = re.findall(r"`brainformer\s([^`]+)`", PAGE)
    return [
        line for line in (*found, *spans) if re.match(r"(token|db|search|serve|data|pool)\b", line)
    ]


def test_every_command_of_ours_is_known():
    lines = command_lines()
    assert len(lines) > 8
    for line in lines:
        assert_known(shlex.split(line))


def test_every_file_that_is_named_exists():
    named = re.findall(r"\b(?:deploy|requirements|examples)/[\w./-]+\.(?:yaml|txt)", PAGE)
    assert len(set(named)) > 8
    for name in named:
        assert (REPOSITORY / name).is_file(), name


def test_three_commands_lead_from_the_chart_to_a_running_controller():
    (block,) = [each for each in BLOCKS if each.startswith("helm install")]
    install, *rest = [shlex.split(line) for line in block.splitlines()]
    assert len(rest) == 2
    chart, values = install[3], install[install.index("-f") + 1]
    assert (REPOSITORY / chart / "Chart.yaml").is_file()
    made = documents("--values", str(REPOSITORY / values))
    names = {f"{found['kind'].lower()}/{found['metadata']['name']}": found for found in made}
    rollout, forward = rest
    assert rollout[:3] == ["kubectl", "rollout", "status"]
    assert names[rollout[3]]["spec"]["template"]["spec"]["containers"]
    assert forward[:2] == ["kubectl", "port-forward"]
    assert int(forward[3]) in [port["port"] for port in names[forward[2]]["spec"]["ports"]]


def test_the_mixed_fleet_is_one_that_the_chart_takes(tmp_path):
    (block,) = [each for each in BLOCKS if each.startswith("pools:")]
    file = tmp_path / "mixed.yaml"
    file.write_text(block)
    told = template("--values", str(file))
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("kind: RayCluster") == len(yaml.safe_load(block)["pools"]) == 2


@pytest.mark.parametrize("name", re.findall(r"`(\w+(?:\.\w+)+)`", PAGE))
def test_every_value_that_is_named_is_one_of_the_chart(name):
    if name.endswith((".yaml", ".json", ".md")):
        assert list(REPOSITORY.rglob(f"deploy/**/{name}"))
        return
    first, second = name.split(".")
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert first == "nodes" or second in values[first]


def test_every_setting_that_is_named_is_a_setting():
    named = re.findall(r"BRAINFORMER_([A-Z_]+)", PAGE)
    known = {name.upper() for name in Settings.model_fields} | {"URL", "TOKEN"}
    assert set(named) <= known
