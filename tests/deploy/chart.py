"""Renders the chart with the real Helm."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import Any

import yaml

from tests.deploy.tools import run_tool
from tests.repository import REPOSITORY

CHART = REPOSITORY / "deploy" / "chart"
VALUES = sorted((CHART / "values").glob("*.yaml"))
Document = dict[str, Any]


def template(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Returns the finished run of `helm template`."""
    return run_tool("helm", "template", "brainformer", CHART, *arguments)


@cache
def rendered(*arguments: str) -> str:
    """Returns what `helm template` writes."""
    told = template(*arguments)
    assert told.returncode == 0, told.stderr
    return told.stdout


def documents(*arguments: str) -> list[Document]:
    """Returns what is rendered, parsed."""
    return [found for found in yaml.safe_load_all(rendered(*arguments)) if found]


def of_kind(kind: str, *arguments: str) -> dict[str, Document]:
    """Returns the documents of a kind by their names."""
    return {
        found["metadata"]["name"]: found for found in documents(*arguments) if found["kind"] == kind
    }


def values_of(name: str) -> tuple[str, str]:
    """Returns the arguments that name one of the chart's own sets of values."""
    return "--values", str(CHART / "values" / f"{name}.yaml")


def pod_specs(found: list[Document]) -> list[Document]:
    """Returns the specs of every pod that the documents make."""
    specs = []
    for each in found:
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}:
            specs.append(each["spec"]["template"]["spec"])
        if each["kind"] == "RayCluster":
            groups = [each["spec"]["headGroupSpec"], *each["spec"]["workerGroupSpecs"]]
            specs += [group["template"]["spec"] for group in groups]
    return specs


def containers(spec: Document) -> list[Document]:
    """Returns the containers of a pod, those that come first included."""
    return [*spec.get("initContainers", ()), *spec["containers"]]
