"""The systemd units: judged by systemd itself, and by our own command line."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from tests.deploy.command_line import assert_known
from tests.repository import REPOSITORY

UNITS = sorted((REPOSITORY / "deploy" / "systemd").glob("*.service"))


@pytest.fixture(params=UNITS, ids=lambda path: path.stem)
def text(request) -> str:
    return str(request.param.read_text())


def test_there_is_a_unit_for_the_controller_and_one_for_workers():
    assert [path.stem for path in UNITS] == ["brainformer-controller", "brainformer-worker"]


def test_what_is_started_is_known(text):
    lines = re.findall(r"^Exec\w+=/opt/brainformer/bin/brainformer (.*)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        assert_known([word for word in shlex.split(line) if word != "$OPTIONS"])


def test_the_options_that_a_comment_shows_are_known():
    text = UNITS[1].read_text()
    (options,) = re.findall(r'^# OPTIONS="(.*)"$', text, re.MULTILINE)
    assert_known(["worker", *shlex.split(options)])


def test_it_runs_as_a_user_of_its_own_and_writes_only_its_own_folders(text):
    assert "User=brainformer\n" in text
    assert "ProtectSystem=strict\n" in text
    written = re.findall(r"/var/(?:lib|cache)/([\w-]+)", text)
    own = re.findall(r"^(?:State|Cache)Directory=([\w-]+)$", text, re.MULTILINE)
    assert set(written) <= set(own)


@pytest.mark.slow
def test_systemd_finds_nothing(tmp_path):
    if shutil.which("systemd-analyze") is None:
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "systemd"]
        subprocess.run(["apt-get", "update"], check=True, capture_output=True)
        subprocess.run(install, check=True, capture_output=True)
    for unit in UNITS:
        there = unit.read_text().replace("/opt/brainformer/bin/brainformer", "/bin/true")
        (tmp_path / unit.name).write_text(there)
    told = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
