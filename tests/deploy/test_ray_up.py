"""deploy/ray/: judged by Ray's own launcher, its command line and ours."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from ray._private.accelerators import TPUAcceleratorManager, tpu
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from brainformer.worker.settings import WorkerSettings
from brainformer.worker.tune.ray_session import trial_resources
from tests.deploy.command_line import assert_known
from tests.repository import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "ray"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def cluster(request) -> dict[str, Any]:
    return load(request.param)


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def commands(cluster: dict[str, Any]) -> list[str]:
    """Returns every command that runs on a machine."""
    return [line for name, lines in cluster.items() if name.endswith("commands") for line in lines]


def dispatcher(cluster: dict[str, Any]) -> list[str]:
    """Returns the arguments of `brainformer` on the head."""
    (line,) = re.findall(r"/brainformer (worker .*?) >>", " ".join(commands(cluster)))
    return shlex.split(line)


def settings(cluster: dict[str, Any]) -> WorkerSettings:
    words = dispatcher(cluster)
    given = {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in zip(words[1::2], words[2::2], strict=True)
    }
    return WorkerSettings.model_validate({"url": "http://x", **given})


def test_there_is_one_for_gpu_machines_and_one_for_tpus():
    assert [path.stem for path in FILES] == ["gpu-machines", "tpu-vm"]


def test_rays_launcher_takes_it(cluster):
    validate_config(prepare_config(cluster))


def test_rays_launcher_would_find_a_typo(cluster):
    cluster["max_worker"] = 3
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config(cluster))


def test_what_the_dispatcher_is_told_is_known(cluster):
    assert_known(dispatcher(cluster))
    told = settings(cluster)
    assert told.ray_address == "127.0.0.1:6379"


def test_what_ray_is_told_is_known(cluster):
    known = {
        name
        for each in start.params
        if isinstance(each, click.Option)
        for name in (*each.opts, *each.secondary_opts)
    }
    lines = [line for line in commands(cluster) if "ray start" in line]
    assert len(lines) == 2
    for line in lines:
        said = re.findall(r"(--[\w-]+)", line.partition("ray start")[2])
        assert said
        assert set(said) <= known


def test_every_ray_that_is_started_asks_for_the_token(cluster):
    for line in commands(cluster):
        if "ray start" in line or "brainformer worker --" in line:
            assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.brainformer/ray_token" in line
    assert "~/.brainformer/ray_token" in cluster["file_mounts"]


def test_secrets_come_as_files_that_git_and_rsync_leave_alone(cluster):
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    assert any(line.strip("/") == "deploy/secrets" for line in ignored)
    assert "deploy/secrets" in cluster["rsync_exclude"]
    assert not re.search(r"bf_\w{20}", str(cluster))


def test_the_locks_that_are_installed_exist(cluster):
    locks = re.findall(r"requirements/[\w-]+\.txt", " ".join(commands(cluster)))
    assert len(locks) == 2
    for lock in locks:
        assert (REPOSITORY / lock).is_file()


def test_a_tpu_vm_is_one_host_that_has_room_for_a_trial():
    cluster = load(FOLDER / "tpu-vm.yaml")
    machine = cluster["available_node_types"]["v6e-8"]
    kind = machine["node_config"]["acceleratorType"]
    assert TPUAcceleratorManager.is_valid_tpu_accelerator_type(kind)
    chips = int(kind.partition("-")[2]) // tpu.get_tpu_cores_per_chip(kind)
    assert chips == tpu.get_num_tpu_visible_chips_per_host(kind)
    told = settings(cluster)
    assert machine["resources"]["TPU"] == chips == 8
    for name, wanted in trial_resources(told).items():
        assert machine["resources"].get(name.upper(), 0) >= wanted
    assert told.slots == machine["max_workers"]
