"""Trials on eight devices against one: losses, memory, probes, and going on on another mesh."""

import json
import os
import subprocess
import sys
from itertools import product

import pytest

from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.trials.lease_messages import Directive
from brainformer.worker.datasets.catalogue import open_dataset
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trial_on_a_mesh_has_the_losses_of_one_device_and_goes_on_there():
    results = eight_devices("expert_choice-adam-all", "resumed-adam-one-all")

    assert max(results.values()) < TOLERANCE, results


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_whole_trial_uses_all_devices_and_records_its_mesh():
    results = eight_devices("trial", "refused")
    alone = train_proxy(
        make_lease(proxy={"batch_size": 16}),
        on_progress=lambda progress: Directive(action="continue"),
        data=open_dataset("python-stdlib"),
        recorded_steps=20,
    )

    trial, measured = results["trial"], alone.measurements
    assert trial["outcome"] == alone.outcome == "completed"
    assert trial["mesh"] == {"data": 4, "expert": 2, "model": 1}
    assert trial["hosts"] == 1
    assert measured.mesh == MeshAxes()
    losses = [point.validation_loss for point in measured.curve]
    assert trial["losses"] == pytest.approx(losses, rel=TOLERANCE)
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
