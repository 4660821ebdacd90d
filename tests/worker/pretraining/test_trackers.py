"""Curves where people look at them: TensorBoard's own files, and the services where they exist."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.pretraining import trackers as module
from brainformer.worker.pretraining.intervals import Every
from brainformer.worker.pretraining.trackers import PACKAGES, SINKS, Sink, Tracker, trackers
from tests.worker.export.clean_environment import clean_environment, environments_folder
from tests.worker.leases import GENOME


def events(folder: Path) -> list[tuple[int, str, float]]:
    """Returns (step, name, value) of every scalar in TensorBoard's files."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            found += [(event.step, one.tag, one.simple_value) for one in event.summary.value]
            place += 16 + length
    return found


@pytest.mark.slow
def test_tensorboard_gets_losses_speeds_and_verdicts(train, tmp_path):
    run = tmp_path / "run"
    train(run, steps=60, observers=trackers(["tensorboard"], run), validate=Every(steps=20))
    found = events(run / "tensorboard")
    names = {name for _, name, _ in found}
    assert names == {
        "train/loss",
        "train/learning_rate",
        "train/gradient_norm",
        "speed/tokens_per_second",
        "speed/mfu",
        "validation/loss",
        "validation/bits_per_byte",
    }
    losses = {step: value for step, name, value in found if name == "train/loss"}
    assert list(losses) == [10, 20, 30, 40, 50, 60]
    assert losses[60] < losses[10]
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    theirs = {one["step"]: one["loss"] for one in journal if one["kind"] == "trained"}
    assert losses == pytest.approx(theirs)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named_before_training(name, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda package: None)
    with pytest.raises(EnvironmentProblem, match=f"pip install {PACKAGES[name]}, or leave out"):
        trackers([name], tmp_path)


def test_every_service_has_a_package_and_a_sink():
    assert PACKAGES.keys() == SINKS.keys()


class Failing:
    """A sink that is full after some points."""

    def __init__(self, points):
        self.left, self.written = points, []

    def write(self, step, values):
        if not self.left:
            raise OSError(28, "No space left on device")
        self.left -= 1
        self.written.append(step)

    def close(self):
        raise RuntimeError("closed already")


def test_a_service_that_fails_on_the_way_does_not_end_the_training(train, tmp_path, caplog):
    sink = Failing(3)
    tracker = Tracker("wandb", lambda beginning: Sink(sink.write, sink.close))
    ending = train(tmp_path / "run", steps=60, observers=[tracker])
    assert ending.why == "completed"
    assert sink.written == [10, 20, 30]
    assert caplog.text.count("wandb gets no more of this run") == 1


def test_a_service_that_does_not_work_is_told_before_the_first_step(train, tmp_path):
    def refuse(beginning):
        raise ValueError("api_key not configured")

    with pytest.raises(EnvironmentProblem, match="--log wandb does not work here: api_key not"):
        train(tmp_path / "run", steps=60, observers=[Tracker("wandb", refuse)])


FETCH = """
import json, mlflow
(run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
client = mlflow.MlflowClient()
history = client.get_metric_history(run.info.run_id, "train.loss")
print(json.dumps([run.data.params["dataset"], sorted({one.step for one in history})]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mlflow_and_wandb_keep_one_run_across_processes(tmp_path, data_folder):
    place = environments_folder() / f"trackers-py{sys.version_info.minor}"
    python = clean_environment(place, "mlflow-skinny==3.17.2", "sqlalchemy", "alembic", "wandb")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    theirs = subprocess.check_output([str(python), "-c", where], text=True).strip()
    own = [one for one in sys.path if one.endswith("site-packages")]
    settings = os.environ | {
        "PYTHONPATH": os.pathsep.join([*own, theirs]),  # ours first: theirs fill the gaps
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "WANDB_MODE": "offline",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    (tmp_path / "block.json").write_text(GENOME.canonical_json())
    options = ["--data", "modules", "--data-folder", str(data_folder), "--report-every", "100"]
    options += ["--log", "mlflow", "--log", "wandb", "--sequence-length", "16"]

    command = [sys.executable, "-m", "brainformer.api.cli.main", "train", "block.json", "-o", "run"]
    command += ["--steps", "4000", *options]
    first = subprocess.Popen(command, cwd=tmp_path, env=settings, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith("step 300/"):
            break
    first.terminate()
    first.stderr.read()
    assert first.wait(60) == 0
    again = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "going on from step" in again.stderr
    fetched = subprocess.run(
        [sys.executable, "-c", FETCH], env=settings, capture_output=True, text=True
    )
    assert fetched.returncode == 0, fetched.stderr[-3000:]
    dataset, steps = json.loads(fetched.stdout)  # of the one run that there is
    assert dataset == "modules"
    assert steps == list(range(100, 4001, 100))
    identities = {
        one.stem for one in (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    }
    assert len(identities) == 1
