import json
import subprocess
import sys

import pytest

from brainformer.worker.doctor import examination
from brainformer.worker.doctor.examination import examine, pool_name

pytestmark = pytest.mark.timed


PROBE = {
    "platform": "gpu",
    "kind": "NVIDIA H200",
    "devices": 8,
    "memory_bytes": 2**37,
    "reference_ms": 0.1,
    "reference_real_ms": 0.1,
    "contention": 1.01,
    "jax": "0.10.2",
}


@pytest.mark.parametrize(
    ("platform", "kind", "devices", "name"),
    [
        ("cpu", "cpu", 1, "cpu"),
        ("gpu", "NVIDIA H200", 8, "h200"),
        ("gpu", "NVIDIA H100 80GB HBM3", 1, "h100"),
        ("gpu", "NVIDIA A100-SXM4-40GB", 1, "a100"),
        ("gpu", "NVIDIA L40S", 1, "l40s"),
        ("gpu", "Tesla T4", 1, "t4"),
        ("gpu", "NVIDIA RTX A6000", 1, "rtx-a6000"),
        ("gpu", "NVIDIA GeForce RTX 4090", 2, "rtx-4090"),
        ("gpu", "NVIDIA GeForce RTX 3080 Ti", 1, "rtx-3080-ti"),
        ("gpu", "AMD Instinct MI300X", 1, "mi300x"),
        ("gpu", "something else", 1, "gpu"),
        ("tpu", "TPU v4", 4, "v4-4"),
        ("tpu", "TPU v5 lite", 8, "v5e-8"),
        ("tpu", "TPU v5p", 4, "v5p-4"),
        ("tpu", "TPU v6 lite", 8, "v6e-8"),
    ],
)
def test_pools_are_named_by_their_hardware(platform, kind, devices, name):
    assert pool_name(platform, kind, devices) == name


@pytest.fixture
def outputs(monkeypatch):
    """What the probes answer: exit status, output, last line of the errors."""
    said = {"device": (0, json.dumps(PROBE), ""), "ray": (0, "42\n", "")}
    monkeypatch.setattr(
        examination,
        "_run",
        lambda command, _: said[
            "device" if "brainformer.worker.doctor.device_probe" in command else "ray"
        ],
    )
    return said


def found(**where):
    return {finding.name: finding for finding in examine(**where)}


@pytest.mark.slow
def test_a_sound_machine_can_run_trials(outputs, tmp_path):
    told = found(data_folder=tmp_path)
    assert all(finding.usable for finding in told.values())
    assert told["pool"].found == "h200"
    assert told["jax"].found == "0.10.2, 8 x NVIDIA H200"
    assert told["noise"].advice == "quiet"
    assert "tokens" in told["data python-stdlib"].found


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer", [(1, "", "no driver"), (0, "", ""), (0, "{ nonsense", "no driver")]
)
def test_a_driver_that_fails_is_told_and_not_fatal(answer, outputs, tmp_path):
    outputs["device"] = answer
    told = found(data_folder=tmp_path)
    assert not told["jax"].usable
    assert told["jax"].found == (answer[2] or "no answer")
    assert told["pool"].found == "cpu"


@pytest.mark.slow
def test_ray_that_does_not_start_is_told_with_its_complaint(outputs, tmp_path):
    outputs["ray"] = (1, "", "OSError: no space left")
    assert "OSError: no space left" in found(data_folder=tmp_path)["ray"].found
    assert not found(data_folder=tmp_path)["ray"].usable


@pytest.mark.slow
def test_a_busy_neighbour_is_noticed(outputs, tmp_path):
    outputs["device"] = (0, json.dumps(PROBE | {"contention": 1.8}), "")
    noise = found(data_folder=tmp_path)["noise"]
    assert noise.found == "80% above the quiet time"
    assert "calibrated clock" in noise.advice


@pytest.mark.slow
def test_a_damaged_data_set_is_named(outputs, tmp_path):
    examine(tmp_path)
    shard = tmp_path / "python-stdlib" / "train-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    told = found(data_folder=tmp_path)
    assert any("truncated" in one.found and not one.usable for one in told.values())


def test_a_probe_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(examination, "PROBE_SECONDS", 0.2)
    code, _, complaint = examination._run([sys.executable, "-c", "import time; time.sleep(60)"], {})
    assert (code, complaint) == (1, "no answer within 0.2 s")


@pytest.mark.slow
def test_the_command_examines_this_machine(tmp_path):
    command = [sys.executable, "-P", "-m", "brainformer.api.cli.main", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=True)
    told = {one["name"]: one for one in json.loads(done.stdout)}
    assert told["pool"]["found"] == "cpu"
    assert told["ray"]["found"].endswith("starts")
    assert float(told["reference kernel"]["found"].split()[0]) > 0
