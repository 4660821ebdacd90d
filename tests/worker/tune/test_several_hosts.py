"""Trials on several hosts: a cluster of nodes on this machine, two of them a TPU slice by name."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.tune import muster as muster_module
from brainformer.worker.tune.hosts import check_slice
from brainformer.worker.tune.muster import look_around, muster
from brainformer.worker.tune.ray_session import slot_resources
from tests.worker.ray_nodes import ranks, ray_nodes
from tests.worker.stack import Stack
from tests.worker.tune.test_dispatcher import baseline, spec
from tests.worker.waiting import wait_for

pytestmark = pytest.mark.timed

NO_STOP = threading.Event()


def chips(name, number, topology="2x4"):
    labels = {"ray.io/tpu-slice-name": name, "ray.io/tpu-worker-id": number}
    return {"resources": {"TPU": 4}, "labels": {**labels, "ray.io/tpu-topology": topology}}


# Slice b lacks its second host.
NODES = [chips("a", "0"), chips("a", "1"), chips("b", "0")]


@pytest.fixture
def settings(tmp_path):
    def make(**changes):
        given = {"url": "http://x", "pool": "p", "hosts": 2, "ray_address": "x"}
        given |= {"state_folder": tmp_path / "state", "checkpoints": tmp_path / "shared"}
        return WorkerSettings(**(given | changes))

    return make


def tpu(settings, **changes):
    return settings(platform="tpu", accelerators=4, **changes)


def test_hosts_are_reserved_together_each_on_a_node_of_its_own(settings):
    group = slot_resources(settings(hosts=3, cores=2))
    assert group.bundles == [{"CPU": 2.0}] * 3
    assert group.strategy == "STRICT_SPREAD"
    one = slot_resources(settings(platform="gpu", accelerators=8)).bundles
    assert one == [{"CPU": 1.0, "GPU": 8.0}] * 2


def test_of_a_slice_the_first_host_is_reserved_and_it_must_be_a_whole_slice(settings):
    made = tpu(settings, hosts=4)
    (first,) = slot_resources(made).bundles
    assert first == {"CPU": 1.0, "TPU": 4.0}
    labels = {"ray.io/tpu-slice-name": "a", "ray.io/tpu-topology": "4x4"}
    check_slice(made, labels)
    with pytest.raises(EnvironmentProblem, match="slice a is 2x4, 8 chips"):
        check_slice(made, labels | {"ray.io/tpu-topology": "2x4"})
    with pytest.raises(EnvironmentProblem, match="Ray knows no slice here"):
        check_slice(made, {})


def test_a_folder_that_is_not_shared_is_named_before_anything_starts(settings, monkeypatch):
    class Group:
        def options(self, **_):
            return self

        remote = options

    monkeypatch.setattr(muster_module, "other_places", lambda *_, **__: [Group()])
    monkeypatch.setattr(muster_module.ray, "remote", lambda _: Group())
    monkeypatch.setattr(Group, "remote", lambda _self, mark: mark)
    monkeypatch.setattr(Group, "options", lambda self, **_: self if _ else {"placed": True})
    seen = []
    monkeypatch.setattr(muster_module, "_answer", lambda mark, *_: seen.append(mark.exists()))
    found = look_around(settings())
    assert seen == [True]  # the mark was there while the others looked
    assert "host 1 of 2 cannot take part: it does not see" in found
    assert "give --checkpoints a folder on storage that all hosts" in found
    assert not list(settings().checkpoints_folder.iterdir())


@pytest.fixture(scope="module")
def cluster():
    with ray_nodes(NODES) as found:
        yield found


@pytest.fixture
def joined(cluster):
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


@contextmanager
def taken(name) -> Iterator[None]:
    """Takes the first host of a slice while inside."""
    label = {"ray.io/tpu-slice-name": name, "ray.io/tpu-worker-id": "0"}
    group = placement_group([{"TPU": 4}], bundle_label_selector=[label])
    assert group.wait(30)
    yield
    remove_placement_group(group)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_muster_finds_hosts_and_slices_and_says_what_is_missing(joined, settings):
    muster(settings(), NO_STOP, print)
    with pytest.raises(EnvironmentProblem, match="needs 4 hosts with 1 CPU each and free") as found:
        muster(settings(hosts=4, wait_for_hosts=2), NO_STOP, print)
    assert "the cluster has 3 with so many in all, after 2 s" in found.value.message
    with taken("b"):
        muster(tpu(settings, wait_for_hosts=20), NO_STOP, print)
    with taken("a"), pytest.raises(EnvironmentProblem, match="other 1 hosts of the slice b"):
        muster(tpu(settings, wait_for_hosts=3), NO_STOP, print)
    wait_for(lambda: ray.available_resources().get("CPU") == 3.0)  # nothing is left reserved


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_host_that_is_killed_or_told_to_end_costs_an_attempt_and_the_next_one_goes_on(
    cluster, tmp_path
):
    shared = tmp_path / "shared"
    extra = ("--hosts", "2", "--ray-address", cluster.address, "--checkpoints", str(shared))
    with Stack(tmp_path, slots=1, runner="train", extra=(*extra, "--save-every", "0.5")) as stack:
        search = stack.create(spec("two", trials=1, budget_seconds=4.0))
        (place,) = wait_for(lambda: list(shared.glob("*/progress.json")), seconds=90)
        ranks(tmp_path)[1].kill()
        saved_bytes = place.read_bytes()
        saved = json.loads(saved_bytes)
        wait_for(lambda: baseline(stack, search)["attempts"][0]["outcome"], seconds=30)
        (lost,) = baseline(stack, search)["attempts"]
        assert lost["outcome"] == "preempted"
        assert "host 1 of 2 was lost" in lost["message"]
        assert "SIGKILL" in lost["message"]
        wait_for(lambda: place.exists() and place.read_bytes() != saved_bytes, seconds=90)
        ranks(tmp_path)[1].send_signal(signal.SIGTERM)  # as a machine is told that it will go
        wait_for(lambda: baseline(stack, search)["status"] == "completed", seconds=90)
        trial = baseline(stack, search)
        told = [one["outcome"] for one in trial["attempts"]]
        assert told == ["preempted", "preempted", "completed"]
        assert "asked to stop after" in trial["attempts"][1]["message"]
        measured = trial["measurements"]
        assert measured["hosts"] == 2
        assert measured["mesh"] == {"data": 1, "expert": 2, "model": 1}
        assert measured["steps"] == saved["total_steps"]  # another attempt would decide anew
        assert measured["curve"][: len(saved["curve"])] == saved["curve"]
        wait_for(lambda: not list(shared.glob("*/progress.json")), seconds=10)
        wait_for(lambda: len(ranks(tmp_path)) == 2, seconds=60)
        stack.worker.send_signal(signal.SIGTERM)
        assert stack.worker.wait(30) == 0
        wait_for(lambda: not ranks(tmp_path), seconds=20)
