"""Trials on eight devices against one: losses, memory, probes, and going on on another mesh."""

import json
import os
import socket
import subprocess
import sys
from itertools import product

import pytest

from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.trials.lease_messages import Directive
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.process.environment import trial_environment
from brainformer.worker.training.proxy_training import train_proxy
from tests.worker.leases import make_lease

# Relative; sums over devices come in another order.
TOLERANCE = 1e-5


def eight_devices(*cases):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    command = [sys.executable, "-m", "tests.worker.training.eight_devices", *cases]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def two_hosts(*cases):
    """Returns the same of two processes that have four of the eight devices each."""
    environment = os.environ | trial_environment("cpu", 1, hosts=2)
    environment["XLA_FLAGS"] += " --xla_force_host_platform_device_count=4"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.worker.training.eight_devices", *cases]
    command += ["--coordinator", coordinator]
    runs = [
        subprocess.Popen(
            [*command, "--host", str(number)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    told = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    return json.loads(told[0][0].splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hosts_of_four_devices_have_the_losses_of_one_device():
    results = two_hosts("expert_choice-adam-all", "trial", "refused")
    trial = results["trial"]

    assert results["expert_choice-adam-all"] < TOLERANCE, results
    assert trial["hosts"] == 2
    assert trial["mesh"] == {"data": 4, "expert": 2, "model": 1}
    assert trial["losses"] == pytest.approx(one_device(), rel=TOLERANCE)
    assert "too few rows for the data axis" in results["refused"]


def one_device():
    """Returns the losses of the whole trial on one device."""
    result = train_proxy(
        make_lease(proxy={"batch_size": 16}),
        on_progress=lambda progress: Directive(action="continue"),
        data=open_dataset("python-stdlib"),
        recorded_steps=20,
    )
    assert (result.outcome, result.measurements.mesh) == ("completed", MeshAxes())
    return [point.validation_loss for point in result.measurements.curve]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trial_on_a_mesh_has_the_losses_of_one_device_and_goes_on_there():
    results = eight_devices("expert_choice-adam-all", "resumed-adam-one-all")

    assert max(results.values()) < TOLERANCE, results


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_whole_trial_uses_all_devices_and_records_its_mesh():
    results = eight_devices("trial", "refused")

    trial = results["trial"]
    assert trial["outcome"] == "completed"
    assert trial["mesh"] == {"data": 4, "expert": 2, "model": 1}
    assert trial["hosts"] == 1
    assert trial["losses"] == pytest.approx(one_device(), rel=TOLERANCE)
    assert "too few rows for the data axis" in results["refused"]
    assert "(got 12)" in results["refused"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_mesh_has_the_losses_of_one_device():
    blocks = ("dense-adam", "top_2-adafactor", "expert_choice-adam", "dropless-adam")
    results = eight_devices(*map("-".join, product(blocks, ("data", "expert", "all"))))

    assert max(results.values()) < TOLERANCE, results


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_trial_goes_on_on_any_other_mesh():
    results = eight_devices("resumed-adam-expert-one", "resumed-adafactor-expert-data")

    assert max(results.values()) < TOLERANCE, results


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_device_holds_its_share_and_the_probe_finds_leaks_on_a_mesh():
    results = eight_devices("shares", "probes")

    # A quarter of the experts, and what is not theirs.
    assert 0.25 < results["shares"]["parameters"] < 0.4
    assert results["shares"]["optimizer"] == pytest.approx(
        results["shares"]["parameters"], rel=0.01
    )
    assert results["probes"] == {"causal": True, "paper": False}
