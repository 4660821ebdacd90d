"""The chart's Ray clusters, asked with Ray's own autoscaler and our own command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any
from unittest.mock import MagicMock

import pytest
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr as autoscaling_config,
)
from ray.autoscaler.v2.instance_manager.cloud_providers.kuberay.cloud_provider import (
    KubeRayProvider,
)
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import (
    ClusterResourceConstraint,
    GangResourceRequest,
)
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.tune.ray_session import (
    slice_bundles,
    slot_resources,
    trial_resources,
)
from tests.deploy.chart import of_kind, values_of
from tests.repository import REPOSITORY

SPREAD = ResourceRequestUtil.PlacementConstraintType.ANTI_AFFINITY


def cluster(values: str, pool: str, *more: str) -> dict[str, Any]:
    """Returns a rendered RayCluster as Kubernetes would give it."""
    found = of_kind("RayCluster", *values_of(values), *more)[f"brainformer-{pool}"]
    return {**found, "metadata": {**found["metadata"], "namespace": "default"}}


def command(found: dict[str, Any]) -> list[str]:
    """Returns the arguments of the dispatcher's `brainformer`."""
    (sidecar,) = found["spec"]["headGroupSpec"]["template"]["spec"]["initContainers"]
    (line,) = re.findall(r"exec brainformer (.*)", sidecar["args"][0])
    return shlex.split(line)


def settings(found: dict[str, Any]) -> WorkerSettings:
    """Returns what the dispatcher is told, as the worker's settings."""
    words = command(found)
    given = {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in zip(words[1::2], words[2::2], strict=True)
    }
    return WorkerSettings.model_validate({"url": "http://x", **given})


class Kubernetes:
    """Answers for one cluster without pods, and keeps what it is told to change."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found
        self.patches: list[Any] = []

    def get(self, path: str) -> dict[str, Any]:
        pods = {"items": [], "metadata": {"resourceVersion": "1"}}
        return self._found if path.startswith("rayclusters/") else pods

    def patch(self, _path: str, payload: list[Any], **_: Any) -> dict[str, Any]:
        self.patches += payload
        return {}


def scaled(
    found: dict[str, Any],
    slots: list[list[dict[str, float]]],
    *,
    asked: Sequence[dict[str, float]] = (),
) -> list[Any]:
    """Returns what Ray's autoscaler changes for slots that wait, each a list of bundles.

    Args:
        found: The cluster.
        slots: Of the dispatcher.
        asked: The bundles that the dispatcher asks for beside them.
    """
    config = AutoscalingConfig(autoscaling_config(found), skip_content_hash=True)
    gangs = []
    for number, bundles in enumerate(slots):
        gang = GangResourceRequest()
        apart = [(SPREAD, f"slot-{number}", "")]  # its bundles on nodes of their own
        wanted = [ResourceRequestUtil.make(each, apart) for each in bundles]
        gang.bundle_selectors.add().resource_requests.extend(wanted)
        gangs.append(gang)
    constraint = ClusterResourceConstraint()
    for each in asked:
        constraint.resource_requests.add(request=ResourceRequestUtil.make(each), count=1)
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes(),
            gang_resource_requests=gangs,
            cluster_resource_constraints=[constraint] if asked else [],
        )
    )
    kubernetes = Kubernetes(found)
    name = found["metadata"]["name"]
    provider = KubeRayProvider(name, {"namespace": "default"}, MagicMock(), kubernetes)
    provider.launch({launch.instance_type: launch.count for launch in reply.to_launch}, "first")
    assert provider.poll_errors() == []
    return kubernetes.patches


def replicas(count: int) -> list[Any]:
    path = "/spec/workerGroupSpecs/0/replicas"
    return [{"op": "replace", "path": path, "value": count}]


def test_ray_sees_the_hardware_of_each_pool():
    def resources(values: str, pool: str) -> dict[str, float]:
        kinds = autoscaling_config(cluster(values, pool))["available_node_types"]
        assert kinds["headgroup"]["resources"]["CPU"] == 0
        found: dict[str, float] = kinds["trials"]["resources"]
        return {name: count for name, count in found.items() if name != "memory"}

    assert resources("cpu", "cpu") == {"CPU": 2}
    assert resources("gpu", "h200") == {"CPU": 32, "GPU": 8}
    assert resources("gke-tpu", "v6e-8") == {"CPU": 120, "TPU": 8, "TPU-v6e-8-head": 1}
    assert resources("gke-tpu", "v6e-16") == {"CPU": 120, "TPU": 4, "TPU-v6e-16-head": 1}


@pytest.mark.parametrize(
    ("values", "pool", "slots", "nodes"),
    [
        ("cpu", "cpu", 1, 1),
        ("cpu", "cpu", 3, 2),  # two slots a node
        ("cpu", "cpu", 8, 4),
        ("gpu", "h200", 8, 1),
        ("gpu", "h200", 9, 2),
        ("gke-tpu", "v6e-8", 3, 3),
    ],
)
def test_slots_that_wait_bring_as_many_nodes_as_they_need(values, pool, slots, nodes):
    found = cluster(values, pool)
    wanted = {
        {"cpu": "CPU", "gpu": "GPU"}.get(name, name): count
        for name, count in trial_resources(settings(found)).items()
    }
    assert scaled(found, [[wanted]] * slots) == replicas(nodes)


def test_a_job_over_four_hosts_brings_one_whole_slice():
    found = cluster("gke-tpu", "v6e-16")
    slot = [{"TPU": 4.0, "CPU": 8.0}] * 4
    assert scaled(found, [slot]) == replicas(1)
    assert scaled(found, [slot, slot]) == replicas(2)


def test_what_the_dispatcher_asks_for_brings_whole_slices():
    found = cluster("gke-tpu", "v6e-16")
    told = settings(found)
    assert (told.hosts, told.slots, told.accelerators) == (4, 2, 4)
    assert told.wait_for_hosts == 0  # a slice comes when it is wanted
    assert str(told.checkpoints) == "/data/cache/brainformer/worker/checkpoints"
    assert scaled(found, [], asked=slice_bundles(told)) == replicas(2)
    one = settings(cluster("gke-tpu", "v6e-16", "--set=pools.v6e-16.slots=1"))
    assert scaled(found, [], asked=slice_bundles(one)) == replicas(1)


def test_gpu_trials_may_take_several_machines():
    more = "--set=pools.h200.nodes.hosts=2,pools.h200.checkpoints=shared,pools.h200.nodes.max=3"
    found = cluster("gpu", "h200", more, "--set=pools.h200.trial.accelerators=8")
    told = settings(found)
    assert (told.hosts, told.slots) == (2, 3)
    slot = slot_resources(told).bundles
    assert slot == [{"CPU": 4.0, "GPU": 8.0}] * 2
    assert scaled(found, [slot] * told.slots) == replicas(3)


@pytest.mark.parametrize(
    ("values", "pool"), [("cpu", "cpu"), ("gpu", "h200"), ("gke-tpu", "v6e-8")]
)
def test_all_slots_of_the_dispatcher_find_room_at_the_most_nodes(values, pool):
    found = cluster(values, pool)
    told = settings(found)
    wanted = {
        {"cpu": "CPU", "gpu": "GPU"}.get(name, name): count
        for name, count in trial_resources(told).items()
    }
    most = found["spec"]["workerGroupSpecs"][0]["maxReplicas"]
    assert scaled(found, [[wanted]] * told.slots) == replicas(most)


@pytest.mark.parametrize(
    ("values", "pool"),
    [("cpu", "cpu"), ("gpu", "h200"), ("gke-tpu", "v6e-8"), ("gke-tpu", "v6e-16")],
)
def test_the_dispatchers_options_are_those_of_the_command_line(values, pool):
    words = command(cluster(values, pool))
    known = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "200"}).stdout
    for option in words[1::2]:
        assert option in known


def test_a_cluster_may_have_no_dispatcher():
    found = cluster("gke-tpu", "v6e-16", "--set=pools.v6e-16.dispatcher=false")
    assert "initContainers" not in found["spec"]["headGroupSpec"]["template"]["spec"]


def test_slots_may_be_fewer_and_a_pool_may_be_put_to_sleep():
    found = cluster("cpu", "cpu", "--set=pools.cpu.slots=3,pools.cpu.suspend=true")
    assert settings(found).slots == 3
    assert found["spec"]["suspend"] is True


def test_ray_asks_for_a_token_everywhere():
    for values, pool in (("cpu", "cpu"), ("gke-tpu", "v6e-16")):
        found = cluster(values, pool)
        assert found["spec"]["authOptions"] == {"mode": "token"}
        sidecars = found["spec"]["headGroupSpec"]["template"]["spec"].get("initContainers", [])
        assert len(sidecars) == 1
    for sidecar in sidecars:
        told = {each["name"]: each for each in sidecar["env"]}
        assert told["RAY_AUTH_MODE"]["value"] == "token"
        source = told["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert source == {"name": found["metadata"]["name"], "key": "auth_token"}


def test_the_dispatcher_shares_the_heads_processes_memory_and_folder():
    spec = cluster("cpu", "cpu")["spec"]["headGroupSpec"]["template"]["spec"]
    assert spec["shareProcessNamespace"] is True
    (sidecar,) = spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    for name, path in (("ray-logs", "/tmp/ray"), ("shared-mem", "/dev/shm")):
        mount = {"name": name, "mountPath": path}
        assert mount in sidecar["volumeMounts"]
        assert mount in spec["containers"][0]["volumeMounts"]


def test_timed_trials_share_no_cores_and_stand_behind_nobody():
    spec = cluster("cpu", "cpu")["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    (apart,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert {"name": "RAY_worker_niceness", "value": "0"} in container["env"]
    for probe in ("livenessProbe", "readinessProbe"):
        assert "tcpSocket" in container[probe]  # a program would take time from a trial


def test_a_spot_node_drains_within_what_it_is_given():
    group = cluster("gke-tpu", "v6e-16")["spec"]["workerGroupSpecs"][0]
    spec = group["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 15
    script = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
    (seconds,) = re.findall(r"seq (\d+)", script)
    assert int(seconds) < 15
    tolerated = {each["key"] for each in spec["tolerations"]}
    assert {"cloud.google.com/gke-spot", "google.com/tpu"} <= tolerated
    assert spec["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "4x4"


def test_claims_for_data_and_checkpoints_are_mounted_where_workers_look():
    found = cluster("cpu", "cpu", "--set=pools.cpu.datasets=texts,pools.cpu.checkpoints=shared")
    spec = found["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    mounts = {each["name"]: each for each in spec["containers"][0]["volumeMounts"]}
    assert mounts["datasets"]["mountPath"] == "/data/cache/brainformer/datasets"
    assert mounts["datasets"]["readOnly"] is True
    assert mounts["checkpoints"]["mountPath"] == "/data/cache/brainformer/worker/checkpoints"


@pytest.mark.parametrize("lock", ["cpu", "cuda", "tpu"])
def test_the_charts_ray_is_that_of_the_images(lock):
    found = cluster("cpu", "cpu")
    text = (REPOSITORY / "requirements" / f"{lock}.txt").read_text()
    (version,) = re.findall(r"^ray(?:\[\w+\])?==([\d.]+)", text, re.MULTILINE)
    assert found["spec"]["rayVersion"] == version
