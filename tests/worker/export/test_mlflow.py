"""The lines of docs/client.md that put an exported folder into MLflow, with MLflow itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from brainformer.worker.export.model_folders import read_model, write_huggingface
from tests.repository import REPOSITORY
from tests.worker.export.clean_environment import clean_environment, environments_folder
from tests.worker.export.models import block, lively

PACKAGES = ("mlflow-skinny==3.17.2", "sqlalchemy", "alembic")
FETCH = """
import mlflow
(run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
assert run.info.run_name == "best block"
print(mlflow.artifacts.download_artifacts(
    run_id=run.info.run_id, artifact_path="model", dst_path="back"
))
"""


def documented() -> str:
    """Returns the code of the page's part on MLflow."""
    page = (REPOSITORY / "docs" / "client.md").read_text("utf-8")
    return page.partition("## In MLflow")[2].partition("```python\n")[2].partition("```")[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_exported_folder_comes_back_from_mlflow_as_it_was(tmp_path: Path) -> None:
    place = environments_folder() / f"mlflow-py{sys.version_info.minor}"
    python = clean_environment(place, *PACKAGES)
    model = lively(block("expert choice"))
    write_huggingface(tmp_path / "model", model, tokenizer="bytes")
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    for code in (documented(), FETCH):
        command = [str(python), "-P", "-c", code]
        ran = subprocess.run(
            command, cwd=tmp_path, env=os.environ | store, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
    back, ours = read_model(tmp_path / "back" / "model"), read_model(tmp_path / "model")
    assert back.genome == model.genome
    assert set(back.arrays) == set(ours.arrays)
    assert all(np.array_equal(back.arrays[name], value) for name, value in ours.arrays.items())
