"""`brainformer train`, `eval` and `generate` as users meet them: processes, signals, words."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from brainformer.worker.export.model_folders import read_model
from brainformer.worker.pretraining.run_folder import RunFolder
from brainformer.worker.trained.trained_model import read_trained
from tests.worker.leases import GENOME
from tests.worker.pretraining.runs import prepared

pytestmark = pytest.mark.slow

LONG = ("--steps", "100000")


class Place:
    """A folder with a data set, a block and compiled programs, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = prepared(folder / "data")
        (folder / "block.json").write_text(GENOME.canonical_json())

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "brainformer.api.cli.main", *words]

    def train(self, *words: str) -> list[str]:
        own = ("--data", "modules", "--data-folder", "data", "--sequence-length", "16")
        return self.command("train", "block.json", *own, *words)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"XDG_CACHE_HOME": str(self.folder / "cache"), "COLUMNS": "200"}

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def run(place: Place) -> Path:
    """A finished run."""
    ran = place.run(place.train("--steps", "100", "-o", "run", "--json"))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert (found["why"], found["step"], found["tokens"]) == ("completed", 100, 100 * 8 * 16)
    return place.folder / "run"


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if words in line:
            return told
    raise AssertionError(told)


def test_off_a_terminal_a_run_tells_plain_lines(place: Place) -> None:
    ran = place.run(place.train("--steps", "600", "-o", "lines", "--report-every", "200"))
    assert ran.returncode == 0
    assert ran.stdout == ""
    assert "\x1b" not in ran.stderr
    line = r"step \d+/600  loss \d\.\d{4}  \S+ tokens/s  MFU \S+%  lr \S+  \d+:\d\d left"
    assert 2 <= len(re.findall(line, ran.stderr)) <= 4
    assert re.search(r"completed 600 steps, validation loss \d\.\d{4} nats a token", ran.stderr)


def test_on_a_terminal_a_bar_goes_and_leaves_the_verdicts(place: Place) -> None:
    ours, theirs = pty.openpty()
    words = place.train("--steps", "300", "-o", "bar", "--validate-every", "100")
    process = subprocess.Popen(
        words, cwd=place.folder, env=place.environment | {"TERM": "xterm"}, stderr=theirs
    )
    os.close(theirs)
    told = b""
    try:
        while piece := os.read(ours, 65536):
            told += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0
    text = told.decode()
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in text
    assert "tokens/s" in text
    assert text.count("validation loss") >= 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_how_to_go_on(place: Place, number: int, code: int) -> None:
    name = f"signal-{number}"
    process = place.start(place.train(*LONG, "-o", name))
    wait_for(process, "parameters on")
    time.sleep(0.5)
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code
    (step,) = re.findall(r"saved step ([\d,]+); go on with: brainformer train", told)
    newest = RunFolder(place.folder / name).newest()
    assert int(newest.name) == int(step.replace(",", "")) > 0
    (again,) = re.findall(r"go on with: brainformer (.*)", told)
    process = place.start(place.command(*again.split(), "--data-folder", "data"))
    assert f"going on from step {step} " in wait_for(process, "parameters on")
    process.kill()
    process.communicate()


def test_a_second_sigterm_ends_it_at_once_and_leaves_whole_checkpoints(place: Place) -> None:
    process = place.start(place.train(*LONG, "-o", "twice"))
    wait_for(process, "training for")  # from here on it compiles, where no handler runs
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    while process.poll() is None and time.monotonic() - start < 10:
        time.sleep(0.03)  # two that are not yet delivered are one
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - start < 2
    assert not RunFolder(place.folder / "twice").exists


def test_a_trained_model_is_judged_by_split(place: Place, run: Path) -> None:
    ran = place.run(place.command("eval", "run", "--data-folder", "data", "--json"))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert list(found["splits"]) == ["validation", "test"]
    for score in found["splits"].values():
        assert 2 < score["bits_per_byte"] < 7
        assert 0 < score["standard_error"] < 1
    table = place.run(
        place.command(
            "eval", "run", "--data", "modules", "--data-folder", "data", "--split", "test"
        )
    )
    assert f"{found['splits']['test']['bits_per_byte']:.4f}" in table.stdout
    assert "validation" not in table.stdout


def test_a_trained_model_writes(place: Place, run: Path) -> None:
    words = ("generate", "run", "--prompt", "import", "--max-tokens", "40")
    first, again = (place.run(place.command(*words, "--seed", "4")) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert first.stdout.startswith("import")
    greedy = place.run(place.command(*words, "--greedy", "--json"))
    told = json.loads(greedy.stdout)
    assert told["prompt"] == "import"
    from_stdin = place.run(
        place.command("generate", "run", "--prompt", "-", "--max-tokens", "40", "--greedy"),
        input="import",
    )
    assert from_stdin.stdout == f"import{told['text']}\n"


def test_a_trained_model_leaves_as_an_export_and_comes_back(place: Place, run: Path) -> None:
    ran = place.run(place.command("export", "run", "--format", "huggingface", "-o", "model"))
    assert ran.returncode == 0, ran.stderr
    assert "trained" in ran.stderr
    there, back = read_trained(run).model, read_model(place.folder / "model")
    assert back.provenance.steps == 100
    assert all((there.arrays[name] == value).all() for name, value in back.arrays.items())
    of_run, of_model = (
        json.loads(
            place.run(
                place.command("eval", name, "--data", "modules", "--data-folder", "data", "--json")
            ).stdout
        )["splits"]
        for name in ("run", "model")
    )
    assert of_model == of_run
    more = place.run(
        place.command("train", "model", "-o", "more", "--steps", "20", "--data-folder", "data")
    )
    assert more.returncode == 0, more.stderr


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("train", "nothing-here", "-o", "new", "--steps", "5"), 3, "no exported folder, genome"),
        (("train", "glam", "--steps", "5"), 2, "name it with --output"),
        (("train", "glam", "-o", "new"), 2, "how long to train"),
        (("train", "glam", "-o", "new", "--steps", "5", "--hours", "1"), 2, "give one of"),
        (("train", "glam", "-o", "new", "--tokens", "many"), 2, "a count is a number"),
        (("train", "glam", "-o", "new", "--steps", "5", "--save-every", "soon"), 2, "30s, 10m or"),
        (("train", "glam", "-o", "new", "--steps", "5", "--mesh", "data=3"), 2, "must divide"),
        (("train", "glam", "-o", "new", "--steps", "5", "--mesh", "data=2"), 2, "mesh must have"),
        (("train", "glam", "-o", "new", "--host", "1"), 2, "need --coordinator"),
        (("train", "glam", "-o", "new", "--coordinator", "a:1", "--host", "1"), 2, "needs --hosts"),
        (
            ("train", "glam", "-o", "new", "--steps", "5", "--data", "no"),
            3,
            "no data set no; known",
        ),
        (("train", "glam", "-o", "data", "--steps", "5"), 1, "is there already and is not a run"),
        (("train", "data", "-o", "new", "--steps", "5"), 3, "run or checkpoint in"),
        (("eval", "nothing-here"), 3, "no checkpoint, run or exported folder"),
        (("eval", "data"), 2, "neither a run nor a checkpoint"),
        (("generate", "block.json"), 2, "neither a run"),
        (("generate", "run", "--top-p", "3"), 2, "top-p lies above 0"),
        (("generate", "run", "--tokenizer", "block.json"), 2, "tokenizer"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    place: Place, run: Path, words: tuple[str, ...], code: int, why: str
) -> None:
    ran = place.run(place.command(*words))
    assert (ran.returncode, ran.stdout) == (code, ""), ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert why in last
    assert not (place.folder / "new").exists()


def test_a_run_goes_on_whatever_devices_there_are(place: Place) -> None:
    """Begun on four devices, gone on with on one: checkpoints do not know the mesh."""
    four = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    words = place.train(*LONG, "-o", "mesh", "--mesh", "data=2,expert=2")
    process = subprocess.Popen(
        words, cwd=place.folder, env=place.environment | four, stderr=subprocess.PIPE, text=True
    )
    assert "on 4 x cpu" in wait_for(process, "parameters on")
    time.sleep(0.5)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    on_four = read_trained(RunFolder(place.folder / "mesh").newest()).model
    process = place.start(place.command("train", "mesh", "--data-folder", "data"))
    told = wait_for(process, "parameters on")
    assert "on 1 x cpu" in told
    assert f"going on from step {on_four.provenance.steps:,} " in told
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_hosts_train_one_run_and_either_may_be_asked_to_stop(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = place.train(*LONG, "-o", "hosts", "--coordinator", f"127.0.0.1:{port}", "--hosts", "2")
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    logs = [(place.folder / f"host-{number}.log").open("w+") for number in (0, 1)]
    hosts = [
        subprocess.Popen(
            [*words, "--host", str(number)],
            cwd=place.folder,
            env=place.environment | two,
            stderr=logs[number],
        )
        for number in (0, 1)
    ]
    journal = place.folder / "hosts" / "journal.jsonl"
    until = time.monotonic() + 200
    while not (journal.exists() and '"trained"' in journal.read_text()):
        assert time.monotonic() < until
        assert [one.poll() for one in hosts] == [None, None], logs[0].read()
        time.sleep(0.5)
    hosts[1].terminate()
    assert [one.wait(120) for one in hosts] == [0, 0]
    told, silent = ((place.folder / f"host-{number}.log").read_text() for number in (0, 1))
    assert "on 4 x cpu" in told
    assert re.search(r"saved step [\d,]+; go on with", told)
    assert "step" not in silent
    saved = RunFolder(place.folder / "hosts").newest()
    assert int(saved.name) > 0
    process = place.start(place.command("train", "hosts", "--data-folder", "data"))
    assert f"going on from step {int(saved.name):,} " in wait_for(process, "on 1 x cpu")
    process.terminate()
    process.communicate(timeout=60)


def test_a_package_that_is_not_there_is_named_with_how_to_get_it(place: Place) -> None:
    hidden = (
        "import sys; sys.modules['wandb'] = None; from brainformer.api.cli.main import main; main()"
    )
    words = place.train("--steps", "5", "-o", "new", "--log", "wandb")[3:]
    ran = place.run([sys.executable, "-c", hidden, *words])
    assert ran.returncode == 1
    assert "--log wandb needs wandb, which is not installed; pip install wandb" in ran.stderr
    assert not (place.folder / "new").exists()
