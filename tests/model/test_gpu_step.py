"""The GPU benchmark at a small size on this machine, with no package but those that it names."""

from __future__ import annotations

import subprocess
import sys

import pytest

HIDDEN = ("yaml", "jaxtyping", "ray", "grain", "orbax", "httpx", "sqlalchemy", "torch", "fastapi")
PROGRAM = f"""
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HIDDEN!r}:
            raise ModuleNotFoundError(name)
        return None
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in {HIDDEN!r} else real(name, *a)
sys.meta_path.insert(0, Hidden())
from benchmarks import gpu_step
gpu_step.stand_ins()
small = dict(blocks=1, experts=4, sequence_length=16, vocab_size=64, head_dim=8)
proxy = gpu_step.proxy_of(batch=4, **small)
print(gpu_step.measure("brainformer_1_approximation", proxy, steps=1, model_dim=16))
"""


@pytest.mark.slow
def test_runs_without_other_packages_than_it_names():
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert "tokens_per_second" in run.stdout
