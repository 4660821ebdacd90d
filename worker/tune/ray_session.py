"""Ray: started on this machine or joined, and what one trial reserves of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.settings import WorkerSettings

OBJECT_STORE_BYTES = 100 * 2**20
TPU_WORKER_LABEL = "ray.io/tpu-worker-id"


def trial_resources(settings: WorkerSettings) -> dict[str, float]:
    """Returns what Ray reserves for one trial, on each of its hosts."""
    resources: dict[str, float] = {"cpu": settings.slot_cores}
    if settings.platform == "gpu":
        resources["gpu"] = settings.accelerators
    if settings.platform == "tpu":
        resources["TPU"] = settings.accelerators
    if settings.accelerator_type:
        resources[f"accelerator_type:{settings.accelerator_type}"] = 0.001
    return resources


def bundle(settings: WorkerSettings) -> dict[str, float]:
    """Returns the same as Ray's placement groups name it: what one of several hosts reserves."""
    names = {"cpu": "CPU", "gpu": "GPU"}
    return {names.get(name, name): count for name, count in trial_resources(settings).items()}


def whole_slices(settings: WorkerSettings) -> bool:
    """Returns whether a trial runs on all hosts of a TPU slice."""
    return settings.platform == "tpu" and settings.hosts > 1


def slice_bundles(settings: WorkerSettings) -> list[dict[str, float]]:
    """Returns what all slots together take of TPU slices, host by host."""
    return [bundle(settings)] * (settings.hosts * settings.slots)


def slot_resources(settings: WorkerSettings) -> Any:
    """Returns what Tune reserves for a slot: of a TPU slice its first host (see `hosts.py`)."""
    if settings.hosts == 1:
        return trial_resources(settings)
    from ray.tune import PlacementGroupFactory

    if whole_slices(settings):
        first = [{TPU_WORKER_LABEL: "0"}]
        return PlacementGroupFactory([bundle(settings)], bundle_label_selector=first)
    return PlacementGroupFactory([bundle(settings)] * settings.hosts, "STRICT_SPREAD")


def check_accelerators(settings: WorkerSettings, there: Mapping[str, float]) -> None:
    """Refuses a worker none of whose slots would ever start, for want of GPUs or chips.

    Args:
        settings: Of the worker; a cluster, which may yet grow, is not looked at.
        there: What Ray has found on this machine.

    Raises:
        EnvironmentProblem: one slot needs more.
    """
    if settings.ray_address is not None or settings.platform == "cpu":
        return
    name = settings.platform.upper()
    found = int(there.get(name, 0))
    if settings.accelerators > found:
        raise EnvironmentProblem(
            f"a trial takes --accelerators {settings.accelerators}, and Ray finds {found} {name} "
            "on this machine",
            "give fewer, or see with 'brainformer doctor' what is here",
        )


def start_ray(settings: WorkerSettings) -> Any:
    """Returns the ray module, joined to a cluster or with one started on this machine."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Ray would put its workers, and with them every timed trial, 15 behind all else.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(settings.slots))
    if settings.ray_address is None:  # nobody looks at them: 3 KB a Tune step in Ray's own store
        os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
    try:
        import ray
    except ImportError:
        raise EnvironmentProblem(
            "Ray is not installed", "install the worker's packages: brainformer-search[cpu]"
        ) from None
    local: dict[str, Any] = {}
    if settings.ray_address is None:
        local = {
            "num_cpus": settings.slots * settings.slot_cores,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        ray.init(
            address=settings.ray_address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EnvironmentProblem(
            f"Ray does not start: {str(error).strip().splitlines()[0]}",
            "check --ray-address and, if the cluster asks for a token, RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH; without an address Ray starts on this machine",
        ) from None
    return ray
