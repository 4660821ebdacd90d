"""`brainformer worker`, as far as it goes before Ray starts."""

import os
import signal
import subprocess
import sys

import httpx2
import pytest

from brainformer.api.cli.main import main
from brainformer.api.cli.terminal.exit_codes import AUTH
from tests.api.controller_process import controller_process
from tests.api.rest_site import ROOT


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Runs the command, which must end at once; returns exit code and stderr."""

    def run(*words):
        monkeypatch.setattr(
            sys, "argv", ["brainformer", "worker", "--state-folder", str(tmp_path), *words]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, " ".join(capsys.readouterr().err.split())

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--platform", "tpu", "--accelerators", "3"], "one of (1, 2, 4, 8) chips, got 3"),
        (["--platform", "gpu"], "a GPU trial takes at least one GPU"),
        (["--platform", "abacus"], "/platform must be"),
        (["--logger", "paper"], "/loggers/0 must be"),
        (["--runner", "walk"], "/runner must be"),
        (["--pool", "My Pool"], "/pool must have"),
        (["--url", "ftp://controller"], "at /url"),
        (["--url", "controller:8700"], "at /url"),
        (["--slots", "0"], "--slots"),
    ],
)
def test_impossible_settings_are_named_before_anything_starts(words, said, refused):
    code, err = refused(*words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_slots_that_would_share_a_core_are_refused(refused):
    code, err = refused("--slots", "2000")
    assert code == 1
    assert "two timed trials must not share one" in err


def test_a_token_is_not_repeated_in_an_error(refused):
    _, err = refused("--token", "hush-hush", "--platform", "abacus")
    assert "hush-hush" not in err


def ended(*words, url, folder, seconds=60, **environment):
    """Runs the command for real; returns exit code and stderr."""
    command = [sys.executable, "-P", "-m", "brainformer.api.cli.main", "worker", "--url", url]
    done = subprocess.run(
        [*command, "--state-folder", str(folder), *words],
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "RAY_TMPDIR": str(folder / "ray"), **environment},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("scopes", [(), ("read", "write")])
def test_a_token_that_opens_nothing_ends_the_worker_before_ray_starts(scopes, tmp_path):
    with controller_process(f"sqlite:///{tmp_path / 'rest.db'}") as running:
        secret = "bf_wrong-and-secret"
        path = f"{running.url}{ROOT}/tokens"
        admin = httpx2.post(path, json={"name": "a", "scopes": ["admin"]}, trust_env=False).json()
        if scopes:
            body, who = {"name": "r", "scopes": scopes}, f"Bearer {admin['secret']}"
            made = httpx2.post(path, json=body, headers={"Authorization": who}, trust_env=False)
            secret = made.json()["secret"]
        code, err = ended(url=running.url, folder=tmp_path, BRAINFORMER_TOKEN=secret)
    assert code == AUTH, err
    assert "scope worker" in err
    assert secret not in err
    assert "Traceback" not in err
    assert not (tmp_path / "ray").exists()


def test_a_worker_says_that_nobody_answers_and_goes_on_asking(tmp_path):
    command = [sys.executable, "-P", "-m", "brainformer.api.cli.main", "worker"]
    worker = subprocess.Popen(
        [*command, "--url", "http://127.0.0.1:9", "--state-folder", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for seconds in (1, 2):
            line = worker.stderr.readline()
            assert "nothing listens there" in line
            assert f"trying again in {seconds} s" in line
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        worker.stderr.close()


def test_a_token_file_that_cannot_be_read_is_named(refused, tmp_path):
    code, err = refused("--token-file", str(tmp_path / "none"))
    assert code == 2
    assert "cannot read the token file" in err
