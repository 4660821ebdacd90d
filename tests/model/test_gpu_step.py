"""The GPU benchmark at a small size on this machine, with no package but those that it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HIDDEN = (
    *("yaml", "jaxtyping", "ray", "grain", "orbax", "httpx", "sqlalchemy", "fastapi"),
    *("torch", "transformers"),
)
# Python imports this of itself, in the benchmark's own processes too.
SITE = f"""
import importlib.abc, importlib.util, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HIDDEN!r}:
            raise ModuleNotFoundError(name)
        return None
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in {HIDDEN!r} else real(name, *a)
sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.slow
def test_runs_without_other_packages_than_it_names(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SITE)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "benchmarks.gpu_step", "--small", "--steps", "1"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["value"] == "not run"
    for name, ours in result["details"]["ours"].items():
        assert ours["tokens_per_second"] > 0, ours
        assert ours["losses"][-1] < ours["losses"][0]
        assert {found["failed"] for found in result["peers"][name].values()} == {"not installed"}
    assert "transformers" in result["peers"]["glam"]
