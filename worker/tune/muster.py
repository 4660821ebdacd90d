"""The muster: before anything starts, a trial's hosts are reserved once and looked at.

What a trial on several hosts would hang or fail on is told in one sentence: too few hosts, a folder
of checkpoints that they do not share, a TPU slice of another size.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError
from ray.util.placement_group import remove_placement_group

from brainformer.search.errors import BrainformerError, EnvironmentProblem
from brainformer.worker.process.shared_folder import leave_mark, not_shared, sees
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.tune.hosts import (
    SLICE_SECONDS,
    Place,
    actor_resources,
    other_places,
)
from brainformer.worker.tune.ray_session import (
    bundle,
    slice_bundles,
    slot_resources,
    whole_slices,
)

LOOK_SECONDS = 1.0  # between looks at whether to end
TELL_SECONDS = 60.0
ANSWER_SECONDS = 90.0  # until a host has started a process and looked


def muster(settings: WorkerSettings, stop: threading.Event, tell: Callable[[str], None]) -> None:
    """Returns once a trial's hosts have been seen together; does nothing for one host.

    Args:
        settings: Of the worker.
        stop: Ends the wait.
        tell: Told now and then that hosts are waited for.

    Raises:
        EnvironmentProblem: the hosts are not there in time, or cannot work together.
    """
    if settings.hosts == 1:
        return
    group = slot_resources(settings).to_placement_group()
    try:
        if _are_there(settings, group, stop, tell):
            _look(settings, Place(group, 0), stop)
    finally:
        remove_placement_group(group)


@contextmanager
def slices_wanted(settings: WorkerSettings) -> Iterator[None]:
    """Has Ray's autoscaler bring the slots' TPU slices while inside.

    A slot waits for a slice's first host, and one host alone brings no slice.
    """
    if not whole_slices(settings):
        yield
        return
    request_resources(bundles=slice_bundles(settings))
    try:
        yield
    finally:
        request_resources(bundles=[])


def _are_there(
    settings: WorkerSettings, group: Any, stop: threading.Event, tell: Callable[[str], None]
) -> bool:
    """Waits for the group; False if the worker is to end."""
    started = told = time.monotonic()
    while not stop.is_set():
        if group.wait(LOOK_SECONDS):
            return True
        now = time.monotonic()
        if settings.wait_for_hosts and now - started > settings.wait_for_hosts:
            raise EnvironmentProblem(
                f"{_what_is_missing(settings)}, after {settings.wait_for_hosts:.0f} s",
                "start Ray on more machines, choose fewer --hosts, or say --wait-for-hosts 0 where "
                "machines come when they are wanted",
            )
        if now - told > TELL_SECONDS:
            told = now
            tell(f"waiting for hosts: {_what_is_missing(settings)}")
    return False


def _what_is_missing(settings: WorkerSettings) -> str:
    wanted = bundle(settings)
    fit = [
        node
        for node in ray.nodes()
        if node["Alive"]
        and all(node["Resources"].get(name, 0) >= count for name, count in wanted.items())
    ]
    words = ", ".join(f"{count:g} {name}" for name, count in wanted.items())
    return (
        f"a trial needs {settings.hosts} hosts with {words} each and free, and the cluster has "
        f"{len(fit)} with so many in all"
    )


def _look(settings: WorkerSettings, first: Place, stop: threading.Event) -> None:
    """Has the first host look at the others, as a slot will.

    Raises:
        EnvironmentProblem: what it found.
    """
    task = ray.remote(look_around).options(
        **first.options(), **actor_resources(settings), max_retries=0
    )
    seconds = (settings.wait_for_hosts or SLICE_SECONDS) + 2 * ANSWER_SECONDS
    found = _answer(task.remote(settings), seconds, stop)
    if found:
        what, _, what_to_do = str(found).partition("; ")
        raise EnvironmentProblem(what, what_to_do)


def look_around(settings: WorkerSettings) -> str:
    """Returns, on the first host, what is wrong and what to do; "" if the hosts fit together."""
    places: list[Place] = []
    mark = None
    try:
        settings.make_folders()
        mark = leave_mark(settings.checkpoints_folder)
        places = other_places(settings)
        looks = [
            ray.remote(sees)
            .options(**place.options(), **actor_resources(settings), max_retries=0)
            .remote(mark)
            for place in places
        ]
        for number, look in enumerate(looks, start=1):
            if not _answer(look, ANSWER_SECONDS, threading.Event()):
                why = not_shared(settings.checkpoints_folder)
                return f"host {number} of {settings.hosts} cannot take part: {why}"
    except BrainformerError as error:
        return error.message
    finally:
        if mark is not None:
            mark.unlink(missing_ok=True)
        for group in {place.group for place in places} if whole_slices(settings) else ():
            remove_placement_group(group)
    return ""


def _answer(asked: Any, seconds: float, stop: threading.Event) -> Any:
    """Returns a task's answer; None if the worker is to end.

    Raises:
        EnvironmentProblem: there is none in time.
    """
    end = time.monotonic() + seconds
    while not stop.is_set():
        answered, _ = ray.wait([asked], timeout=LOOK_SECONDS)
        if answered:
            break
        if time.monotonic() > end:
            raise EnvironmentProblem(
                f"a host has not answered for {seconds:.0f} s", "see Ray's log on the hosts"
            )
    else:
        return None
    try:
        return ray.get(asked)
    except RayError as error:
        raise EnvironmentProblem(
            f"a host cannot be asked: {str(error).strip().splitlines()[-1]}",
            "see that every host has brainformer-search installed",
        ) from None
