"""What is refused, in one sentence that says why, with everything that was there untouched."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from brainformer.search.errors import (
    BrainformerError,
    Conflict,
    EnvironmentProblem,
    InvalidCheckpoint,
    InvalidData,
    InvalidInput,
    NotFound,
)
from brainformer.search.export.manifest import content_digest
from brainformer.worker.devices.hosts import OneHost
from brainformer.worker.pretraining import run_folder
from brainformer.worker.pretraining.run_folder import RunFolder, read_checkpoint
from brainformer.worker.pretraining.start import model_of
from tests.repository import REPOSITORY
from tests.worker.leases import GENOME
from tests.worker.pretraining.runs import BLOCK, Every, Notes, prepared, trained


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, data_folder, cache_folder) -> Path:
    """A run that was stopped on its way."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    stop = threading.Event()
    notes = Notes(at=20, act=stop.set)
    trained(
        run,
        steps=500,
        stop=stop,
        observers=[notes],
        data_folder=data_folder,
        cache_folder=cache_folder,
    )
    return run


@pytest.fixture
def run(stopped, tmp_path) -> Path:
    """A copy of it that a test may damage."""
    import shutil

    return Path(shutil.copytree(stopped, tmp_path / "run"))


def content(folder: Path) -> dict[str, str]:
    """Returns the hash of every file below a folder but the lock."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(one.relative_to(folder)): sha256(one.read_bytes()).hexdigest() for one in files}


def largest(checkpoint: Path) -> Path:
    files = [path for path in (checkpoint / "arrays").rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def cut_short(checkpoint: Path) -> None:
    data = largest(checkpoint).read_bytes()
    largest(checkpoint).write_bytes(data[: len(data) // 2])


def one_bit(checkpoint: Path) -> None:
    data = bytearray(largest(checkpoint).read_bytes())
    data[len(data) // 2] ^= 1
    largest(checkpoint).write_bytes(bytes(data))


def missing(checkpoint: Path) -> None:
    largest(checkpoint).unlink()


def foreign_file(checkpoint: Path) -> None:
    (checkpoint / "arrays" / "model.pkl").write_bytes(b"cos\nsystem\n")


def changed_figure(checkpoint: Path) -> None:
    path = checkpoint / "checkpoint.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def no_json(checkpoint: Path) -> None:
    path = checkpoint / "checkpoint.json"
    path.write_bytes(path.read_bytes()[:100])


def sealed(checkpoint: Path, **changes: object) -> None:
    """Changes a manifest as somebody would who knows how it is sealed."""
    path = checkpoint / "checkpoint.json"
    data = json.loads(path.read_text()) | changes
    data.pop("content_digest")
    path.write_text(json.dumps(data | {"content_digest": content_digest(data)}))


def newer(checkpoint: Path) -> None:
    sealed(checkpoint, schema_version=2, what_is_new=[1, 2])


def other_digest(checkpoint: Path) -> None:
    sealed(checkpoint, digest="0" * 64)


def other_genome(checkpoint: Path) -> None:
    plan = json.loads((checkpoint / "checkpoint.json").read_text())["plan"]
    wider = GENOME.model_copy(update={"model_dim": 32})
    sealed(checkpoint, plan=plan | {"genome": wider.canonical()}, digest=wider.digest)


def climbing_path(checkpoint: Path) -> None:
    files = json.loads((checkpoint / "checkpoint.json").read_text())["files"]
    sealed(checkpoint, files=files | {"../../../etc/passwd": {"bytes": 1, "sha256": "0" * 64}})


DAMAGE = {
    cut_short: "bytes long",
    one_bit: "was changed",
    missing: "is missing",
    foreign_file: "does not belong",
    changed_figure: "digest is not that of its content",
    no_json: "not JSON",
    newer: "schema version 2, this version reads up to 1; upgrade",
    other_digest: "does not match its genome",
    other_genome: "not those of its own plan",
    climbing_path: "is not a manifest",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__)
def test_a_damaged_checkpoint_is_refused_and_left_alone(damage, run, train):
    newest = RunFolder(run).newest()
    damage(newest)
    before = content(run)
    with pytest.raises(InvalidCheckpoint, match=DAMAGE[damage]):
        train(None, source=run)
    with pytest.raises(InvalidCheckpoint, match=DAMAGE[damage]):
        model_of(newest)
    assert content(run) == before


def test_an_older_checkpoint_is_what_a_damaged_run_is_saved_from(run, train, tmp_path):
    one_bit(RunFolder(run).newest())
    oldest = RunFolder(run).checkpoints()[0]
    with pytest.raises(InvalidCheckpoint, match=f"brainformer train {oldest} --output NEW"):
        train(None, source=run)
    ending = train(tmp_path / "saved", source=oldest, steps=40)
    assert (ending.why, ending.step) == ("completed", 40)


def test_arrays_of_another_shape_are_refused(run):
    with pytest.raises(InvalidCheckpoint, match="not those of its own plan"):
        read_checkpoint(RunFolder(run).newest(), [1])


def test_what_is_no_run_is_told_so(train, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="--output"):
        train(None, source=tmp_path / "empty")
    with pytest.raises(NotFound):
        train(tmp_path / "new", source=tmp_path / "empty", steps=10)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_stands_in_the_way_stays(kind, train, tmp_path):
    place = tmp_path / "thesis"
    if kind == "file":
        place.write_text("chapter one")
    else:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "chapter.txt").write_text("chapter one")
        place = tmp_path / "real"
    if kind == "link":
        (tmp_path / "link").symlink_to(place)
        place = tmp_path / "link"
    before = content(tmp_path)
    with pytest.raises(EnvironmentProblem, match="is there already"):
        train(place, steps=10)
    assert content(tmp_path) == before


def test_another_run_in_the_folder_is_named_by_what_differs(run, train):
    other = type(BLOCK)(GENOME.model_copy(update={"model_dim": 32}), BLOCK.proxy)
    before = content(run)
    with pytest.raises(Conflict, match=r"holds another run .other genome, seed"):
        train(run, source=other, steps=500, seed=3)
    assert content(run) == before


@pytest.mark.parametrize(
    "wishes", [{"steps": 600}, {"learning_rate": 0.5}, {"batch_size": 4}, {"schedule": "cosine"}]
)
def test_a_run_does_not_go_on_as_something_else(wishes, run, train):
    before = content(run)
    (name,) = wishes
    with pytest.raises(Conflict, match=f"--{name.replace('_', '-')}"):
        train(None, source=run, **wishes)
    assert content(run) == before


def test_two_processes_do_not_train_in_one_folder(run, train):
    with RunFolder(run).held(OneHost()), pytest.raises(Conflict, match="another process"):
        train(None, source=run)


def test_other_data_under_the_same_name_is_refused(run, train, tmp_path, cache_folder):
    elsewhere = prepared(tmp_path / "data", validation_share=0.3)
    with pytest.raises(Conflict, match="with hash"):
        train(None, source=run, data_folder=elsewhere)


def test_a_prolonged_run_needs_a_folder_of_its_own_and_more_steps(run, train, tmp_path):
    with pytest.raises(InvalidInput, match="folder of its own"):
        train(None, source=run, prolong=True, steps=900)
    with pytest.raises(InvalidInput, match="folder of its own"):
        train(run, source=run, prolong=True, steps=900)
    with pytest.raises(InvalidInput, match="how long the whole run"):
        train(tmp_path / "new", source=run, prolong=True)
    with pytest.raises(InvalidCheckpoint, match="give more"):
        train(tmp_path / "new", source=run, prolong=True, steps=10)
    assert not (tmp_path / "new").exists()


def test_a_cosine_cannot_be_prolonged(train, tmp_path):
    train(tmp_path / "run", steps=20, schedule="cosine")
    with pytest.raises(InvalidCheckpoint, match="a cosine falls from its first step"):
        train(tmp_path / "new", source=tmp_path / "run", prolong=True, steps=40)


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({}, "how long to train"),
        ({"steps": 10, "warmup_steps": 9}, "must have risen"),
        ({"hours": 1, "schedule": "cosine"}, "needs to know its end"),
        ({"hours": 0.0}, "must be greater than 0"),
        ({"hours": -1.0}, "must be greater than 0"),
        ({"hours": math.inf}, "must be a finite number"),
        ({"hours": math.nan}, "must be a finite number"),
        ({"steps": 10, "decay_share": 1.5}, "at most 1"),
        ({"steps": 10, "seed": -1}, "at least 0"),
        ({"steps": 10, "batch_size": 65_537}, "65536"),
        ({"steps": 10, "sequence_length": 100_000}, "one batch"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_written(wishes, why, train, tmp_path):
    with pytest.raises(BrainformerError, match=why):
        train(tmp_path / "run", **wishes)
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_that_does_not_fit_is_refused(run, train, tmp_path, subwords):
    with pytest.raises(InvalidData, match=r"another tokenizer .* than the checkpoint"):
        train(tmp_path / "new", source=run, data_folder=subwords.data_folder, steps=700)
    model = model_of(RunFolder(run).newest())
    block = type(BLOCK)(model.genome, model.proxy, model.provenance, model)
    with pytest.raises(InvalidData, match="another tokenizer than the weights"):
        train(tmp_path / "new", source=block, data_folder=subwords.data_folder, steps=10)
    with pytest.raises(InvalidData, match="prepared with another tokenizer"):
        train(tmp_path / "new", steps=10, tokenizer=str(subwords.file))
    assert not (tmp_path / "new").exists()


def test_what_is_still_written_when_a_checkpoint_fails_goes_too(tmp_path, train, monkeypatch):
    write_state, writers = run_folder.write_state, []

    def late(place):
        for number in range(30):
            place.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                (place / f"{number}.part").write_text("an array")
            time.sleep(0.01)

    def failing(place, state):
        if place.parent.name != ".0000000020":
            write_state(place, state)
            return
        writers.append(threading.Thread(target=late, args=(place,)))
        writers[0].start()
        raise OSError("no space left")

    monkeypatch.setattr(run_folder, "write_state", failing)
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        train(tmp_path / "run", steps=40, save=Every(steps=20))
    writers[0].join()
    assert [one.name for one in (tmp_path / "run" / "checkpoints").iterdir()] == ["0000000000"]


FULL = """
import resource, signal, sys, threading
from pathlib import Path
from brainformer.search.errors import EnvironmentProblem
from tests.worker.pretraining.runs import Notes, trained, Every
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    trained(Path(sys.argv[1]), steps=400, data_folder=Path(sys.argv[2]), save=Every(steps=30),
            observers=[Notes(at=35, act=fill)])
except EnvironmentProblem as error:
    print(error.message)
"""


def test_a_full_disk_ends_the_run_and_leaves_what_was_saved(tmp_path, data_folder, train):
    run = tmp_path / "run"
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(run), str(data_folder)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "cannot write" in ran.stdout
    assert "what was saved before is untouched" in ran.stdout
    assert [int(one.name) for one in RunFolder(run).checkpoints()] == [0, 30]
    assert not list((run / "checkpoints").glob(".*"))
    ending = train(None, source=run)
    assert (ending.why, ending.step) == ("completed", 400)
