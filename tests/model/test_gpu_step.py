"""The GPU benchmarks at a small size on this machine, with no package but those that they name."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

NEVER = ("jaxtyping", "ray", "grain", "orbax", "httpx2", "sqlalchemy", "fastapi")
# Python imports this of itself, in the benchmark's own processes too.
SITE = """
import importlib.abc, importlib.util, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(name)
        return None
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in HIDDEN else real(name, *a)
sys.meta_path.insert(0, Hidden())
"""


def result_without(packages, folder, name, *options):
    """Returns what a benchmark reports where Python finds none of these packages."""
    (folder / "sitecustomize.py").write_text(f"HIDDEN = {packages!r}{SITE}")
    environment = os.environ | {"PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", f"benchmarks.{name}", "--small", *options]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_search_runs_without_ray_and_without_sql(tmp_path):
    options = ("--seconds", "1", "--budget", "1", "--no-keep")
    result = result_without((*NEVER, "torch"), tmp_path, "gpu_search", *options)

    assert result["ok"]
    assert result["details"]["outcomes"] == ["completed"]
    assert len(result["details"]["trials"]) == result["value"] == 1


@pytest.mark.slow
def test_steps_run_without_other_packages_than_they_name(tmp_path):
    packages = (*NEVER, "yaml", "torch", "transformers")
    result = result_without(packages, tmp_path, "gpu_step", "--steps", "1")

    assert result["value"] == "not run"
    for name, ours in result["details"]["ours"].items():
        assert ours["tokens_per_second"] > 0, ours
        assert ours["losses"][-1] < ours["losses"][0]
        assert {found["failed"] for found in result["peers"][name].values()} == {"not installed"}
    assert "transformers" in result["peers"]["glam"]
