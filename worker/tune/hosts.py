"""The hosts of a trial in a Ray cluster: what a slot reserves, and an actor on each other host.

Three things are reserved in three ways:

| a trial on | is reserved as |
| --- | --- |
| one host | what Tune makes of its resources |
| several hosts | one placement group whose bundles lie on as many nodes |
| a TPU slice of several hosts | the slice's first host, and then its others by the slice's name |

A slice is reserved in two steps since its name is known only once its first host is, and hosts of
two slices have no connection between their chips.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.trials.lease_messages import Lease
from brainformer.worker.devices.joining import Membership
from brainformer.worker.process.host import Host, HostProcess, HostState
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.tune.ray_session import TPU_WORKER_LABEL, bundle, whole_slices

SLICE_LABEL = "ray.io/tpu-slice-name"
TOPOLOGY_LABEL = "ray.io/tpu-topology"
# An actor's first answer, after Ray has started it and it has taken its cores.
FIRST_ANSWER_SECONDS = 90.0
LOST_SECONDS = 15.0  # without an answer
SLICE_SECONDS = 600.0  # from a slice's first host to its last one, where machines come when wanted


class Place(NamedTuple):
    """A bundle that a host's actor lives in."""

    group: PlacementGroup
    bundle: int

    def options(self) -> dict[str, Any]:
        """Returns what Ray is told to start something here."""
        return {
            "scheduling_strategy": PlacementGroupSchedulingStrategy(
                placement_group=self.group, placement_group_bundle_index=self.bundle
            )
        }


def other_places(settings: WorkerSettings) -> list[Place]:
    """Returns the places of the trial's other hosts; call it on the first one, in its group.

    Raises:
        EnvironmentProblem: this is no whole slice, or its hosts are not free in time.
    """
    ours = ray.util.get_current_placement_group()
    if ours is None:
        raise EnvironmentProblem("this is no slot of several hosts", "leave --hosts out")
    if not whole_slices(settings):
        return [Place(ours, number) for number in range(1, settings.hosts)]
    labels = ray.get_runtime_context().get_node_labels()
    check_slice(settings, labels)
    selector = [
        {SLICE_LABEL: labels[SLICE_LABEL], TPU_WORKER_LABEL: str(number)}
        for number in range(1, settings.hosts)
    ]
    group = placement_group(
        [bundle(settings)] * len(selector), "STRICT_SPREAD", bundle_label_selector=selector
    )
    if not group.wait(settings.wait_for_hosts or SLICE_SECONDS):
        remove_placement_group(group)
        raise EnvironmentProblem(
            f"the other {len(selector)} hosts of the slice {labels[SLICE_LABEL]} are not there, or "
            "not free",
            "see that all hosts of a slice have joined the cluster, and that nobody else uses them",
        )
    return [Place(group, number) for number in range(len(selector))]


def check_slice(settings: WorkerSettings, labels: dict[str, Any]) -> None:
    """Refuses a TPU host that is not the first of a slice of the size that a trial needs.

    Raises:
        EnvironmentProblem: says what it is instead.
    """
    chips, topology = settings.hosts * settings.accelerators, str(labels.get(TOPOLOGY_LABEL, ""))
    sizes = [int(size) for size in topology.split("x") if size.isdecimal()]
    there = math.prod(sizes)
    if SLICE_LABEL not in labels or not sizes:
        raise EnvironmentProblem(
            f"Ray knows no slice here ({SLICE_LABEL}, {TOPOLOGY_LABEL})",
            "start Ray on the hosts of a TPU slice, whose environment names it",
        )
    if there != chips:
        raise EnvironmentProblem(
            f"a trial takes {settings.hosts} hosts of {settings.accelerators} chips, but the slice "
            f"{labels[SLICE_LABEL]} is {topology}, {there} chips",
            "choose --hosts and --accelerators so that a trial has a whole slice",
        )


class RayHost(Host):
    """Another host, by an actor there; every answer is waited for elsewhere.

    Args:
        settings: Of the worker.
        place: Where the actor lives.
    """

    def __init__(self, settings: WorkerSettings, place: Place) -> None:
        self._settings = settings
        self._place = place
        self._actor: Any = None
        self._asked: Any = None
        self._asked_at = 0.0
        self._patience = FIRST_ANSWER_SECONDS
        self._state = HostState()

    def start(self, member: Membership, mark: Path) -> None:
        """Starts the host's process, and its actor where there is none."""
        if self._actor is None:
            self._actor = ray.remote(HostProcess).options(
                **self._place.options(), **actor_resources(self._settings)
            ).remote(self._settings)  # fmt: skip
        self._state, self._asked, self._patience = HostState(), None, FIRST_ANSWER_SECONDS
        self._actor.start.remote(member, mark)

    def begin(self, lease: Lease) -> None:
        """Begins a lease; an answer to an earlier question is no longer of interest."""
        self._state, self._asked = HostState(), None
        if self._actor is not None:
            self._actor.begin.remote(lease)

    def state(self) -> HostState:
        """Returns the host's latest answer, and asks again; one that is silent is lost."""
        if self._actor is None:
            return self._state
        try:
            self._hear()
        except RayError as error:
            self._lose(f"its actor is gone ({type(error).__name__})")
        return self._state

    def interrupt(self) -> None:
        """Asks the running trial to save itself and end."""
        actor = self._actor  # the heartbeats' thread asks, too
        if actor is not None:
            actor.interrupt.remote()

    def kill(self) -> None:
        """Ends the host's process; the actor stays, unless nobody knows how it is."""
        if self._actor is not None:
            self._actor.kill.remote()
        self._state, self._asked = HostState(), None

    def _hear(self) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked, self._asked_at = self._actor.state.remote(), now
        answered, _ = ray.wait([self._asked], timeout=0)
        if answered:
            self._state, self._asked, self._patience = ray.get(self._asked), None, LOST_SECONDS
        elif now - self._asked_at > self._patience:
            self._lose(f"it has not answered for {self._patience:.0f} s")

    def _lose(self, why: str) -> None:
        """Gives the actor up; the next start makes a new one, once its place is there again."""
        ray.kill(self._actor)
        self._actor, self._asked, self._state = None, None, HostState(lost=why)


def actor_resources(settings: WorkerSettings) -> dict[str, Any]:
    """Returns what a host's actor takes of its bundle, as Ray's options."""
    wanted = bundle(settings)
    return {
        "num_cpus": wanted.pop("CPU"),
        "num_gpus": wanted.pop("GPU", 0),
        "resources": wanted,
    }


def other_hosts(settings: WorkerSettings) -> Sequence[Host]:
    """Returns the other hosts of this slot's trials.

    Raises:
        EnvironmentProblem: see `other_places`.
    """
    places = other_places(settings)
    return [RayHost(settings, place) for place in places]
