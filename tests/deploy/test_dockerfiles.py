"""The Dockerfiles, judged without a Docker engine: what they copy, run and leave behind."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.deploy.dockerfile import copied_from_context, read_dockerfile
from tests.deploy.tools import run_tool
from tests.repository import REPOSITORY

ROOT = REPOSITORY
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
WORKER = ROOT / "deploy" / "worker.Dockerfile"
PACKAGES = ("search", "model", "worker", "api")
ACCELERATORS = ("cpu", "cuda", "tpu")
FULL_VERSION = re.compile(r"^[a-z0-9./_-]+:\d+\.\d+(\.\d+)?-[a-z-]+$")


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.stem)
def instructions(request):
    return read_dockerfile(request.param)


def test_there_is_an_image_for_the_controller_and_for_workers():
    assert [path.name for path in DOCKERFILES] == ["controller.Dockerfile", "worker.Dockerfile"]


def test_hadolint_finds_nothing():
    told = run_tool("hadolint", *DOCKERFILES)
    assert told.returncode == 0, told.stdout + told.stderr


def test_everything_that_is_copied_exists_and_reaches_the_builder(instructions):
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    sources = copied_from_context(instructions)
    assert sources
    for source in sources:
        for name in {source.replace("${ACCELERATOR}", each) for each in ACCELERATORS}:
            assert (ROOT / name).exists(), name
            assert any(fnmatch.fnmatch(name, pattern) for pattern in allowed), name


def test_base_images_are_pinned_to_a_full_version(instructions):
    bases = [i.rest.split()[0] for i in instructions if i.name == "FROM"]
    default = next(i.rest for i in instructions if i.name == "ARG" and i.stage == -1)
    name, image = default.split("=")
    assert FULL_VERSION.match(image), image
    assert set(bases) == {f"${{{name}}}"}


def test_the_last_stage_runs_as_a_numeric_user_that_is_not_root(instructions):
    last = max(i.stage for i in instructions)
    at = {i.name: index for index, i in enumerate(instructions) if i.stage == last}
    user = instructions[at["USER"]].rest
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert at["USER"] < at["ENTRYPOINT"]
    assert all(i.name != "RUN" for i in instructions[at["USER"] :])


def test_packages_are_checked_by_hash_and_installed_in_the_first_stage_alone(instructions):
    installs = [i for i in instructions if i.name == "RUN" and "pip install" in i.rest]
    assert {i.stage for i in installs} == {0}
    for each in installs:
        own = "--no-index --no-build-isolation --no-deps ." in each.rest
        assert own or "--require-hashes" in each.rest


def test_state_lies_in_the_volume_and_nowhere_else(instructions):
    last = max(i.stage for i in instructions)
    ours = [i for i in instructions if i.stage == last]
    assert [i.rest for i in ours if i.name == "VOLUME"] == ["/data"]
    (variables,) = (i.rest for i in ours if i.name == "ENV")
    folders = re.findall(r"(HOME|XDG_\w+)=(\S+)", variables)
    assert {"HOME", "XDG_CACHE_HOME"} <= {name for name, _ in folders}
    assert all(f"{path}/".startswith("/data/") for _, path in folders)


def test_every_image_has_a_health_check(instructions):
    assert [i.stage for i in instructions if i.name == "HEALTHCHECK"] == [1]


def test_no_secret_and_no_foreign_index_is_built_in(instructions):
    for each in instructions:
        if each.name in {"ENV", "ARG", "LABEL"}:
            assert not re.search(r"token|password|secret|_key", each.rest, re.IGNORECASE), each
        assert not re.search(r"--(extra-)?index-url|curl |wget ", each.rest), each


def test_commands_are_in_the_form_that_gets_signals(instructions):
    for each in instructions:
        if each.name in {"ENTRYPOINT", "CMD"}:
            assert isinstance(json.loads(each.rest), list)


def test_the_controllers_packages_hold_neither_jax_nor_ray():
    names = {
        re.split(r"[=\[ ]", line)[0]
        for line in (ROOT / "requirements" / "controller.txt").read_text().splitlines()
        if re.match(r"[a-z]", line)
    }
    assert "fastapi" in names
    assert not names & {"jax", "jaxlib", "flax", "ray", "optax"}


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_a_workers_packages_hold_jax_for_its_hardware(accelerator):
    text = (ROOT / "requirements" / f"{accelerator}.txt").read_text()
    plugin = {"cpu": "jaxlib==", "cuda": "jax-cuda13-pjrt==", "tpu": "libtpu=="}[accelerator]
    assert re.search(rf"^{plugin}", text, re.MULTILINE)
    assert re.search(r"^ray(\[\w+\])?==", text, re.MULTILINE)


def test_the_installed_packages_carry_every_file_that_is_not_python():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    globs = data["package-data"]
    for package in PACKAGES:
        wanted = globs.get(f"brainformer.{package}", ())
        carried = {path for glob in wanted for path in (ROOT / package).glob(glob)}
        left_out = set(_files(package)) - carried
        assert {path for path in left_out if path.suffix != ".py"} == set()


def test_every_folder_with_python_in_it_is_a_package_and_so_is_installed():
    for package in PACKAGES:
        for path in _files(package):
            if path.parent.name == "templates":  # data of the package: copied, never imported
                continue
            assert path.suffix != ".py" or (path.parent / "__init__.py").is_file(), path


def _files(package: str) -> list[Path]:
    paths = (ROOT / package).rglob("*")
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
