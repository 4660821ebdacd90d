"""The examination of a machine: what it offers to trials, and whether what they need is usable."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from brainformer.search.errors import BrainformerError
from brainformer.worker.datasets.catalogue import list_datasets, open_dataset
from brainformer.worker.datasets.stdlib_text import BUILT_IN
from brainformer.worker.process.environment import trial_environment
from brainformer.worker.timing.calibration import cores, processor_name

PROBE_SECONDS = 180
GPU_MODEL = re.compile(r"(?:(rtx|gtx)\s+)?(?<![a-z0-9])([a-z]{0,2}\d{1,4}[a-z]?)\b(?:\s+(ti)\b)?")
NOISY = 1.15  # mean over quiet time of the reference kernel
RAY_TRIAL = (
    "import ray; ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, "
    "object_store_memory=100 * 2**20, logging_level='ERROR'); "
    "print(ray.get(ray.remote(lambda: 41 + 1).remote()))"
)


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        name: What was looked at.
        found: What there is.
        usable: Whether trials can run with it.
        advice: What to do, or worth knowing; may be empty.
    """

    name: str
    found: str
    usable: bool = True
    advice: str = ""


def examine(data_folder: Path | None = None) -> list[Finding]:
    """Returns the findings, the suggested pool's name last. Takes about ten seconds."""
    device, told = probe_device()
    findings = [_processor(), _memory(), *_device(device, told), _ray()]
    findings += _data(data_folder)
    name = pool_name(
        device.get("platform", "cpu"), device.get("kind", ""), device.get("devices", 1)
    )
    return [*findings, Finding("pool", name, advice=f"brainformer worker --pool {name}")]


def pool_name(platform: str, kind: str, devices: int) -> str:
    """Returns the name that fits this hardware: `cpu`, `h200`, `rtx-4090`, `v6e-8`."""
    kind = kind.lower()
    if platform == "tpu":
        generation = re.search(r"v(\d+)\s*(lite|e|p)?", kind)
        if generation is None:
            return f"tpu-{devices}"
        suffix = {"lite": "e", "e": "e", "p": "p"}.get(generation[2] or "", "")
        return f"v{generation[1]}{suffix}-{devices}"
    if platform == "gpu":
        model = GPU_MODEL.search(kind)
        parts = [part for part in model.groups() if part] if model else ["gpu"]
        return "-".join(parts)
    return "cpu"


def probe_device() -> tuple[dict[str, Any], str]:
    """Returns what jax finds, and the last line of its complaint where it finds nothing."""
    environment = {**os.environ, **trial_environment("cpu", 1)}
    if os.environ.get("JAX_PLATFORMS") != "cpu" and _has_accelerator():
        environment.pop("JAX_PLATFORMS")
    code, out, complaint = _run(
        [sys.executable, "-P", "-m", "brainformer.worker.doctor.device_probe"], environment
    )
    try:
        found = json.loads(out.strip().splitlines()[-1]) if code == 0 else {}
    except (ValueError, IndexError):
        found = {}
    return found, complaint


def _has_accelerator() -> bool:
    return any(shutil.which(name) for name in ("nvidia-smi", "rocm-smi")) or any(
        Path("/dev").glob("accel*")
    )


def _processor() -> Finding:
    total, usable = os.cpu_count() or 1, cores()
    found = f"{processor_name()}, {usable} of {total} cores"
    quota = _quota()
    if quota is not None and quota < usable:
        return Finding(
            "processor",
            f"{found}, a quota of {quota:.1f}",
            advice=f"start at most {max(1, int(quota))} slots: a quota throttles timed trials",
        )
    return Finding("processor", found, advice=f"up to {usable} slots of one core")


def _quota() -> float | None:
    """Returns the control group's limit in cores, if there is one."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").exists() else None  # noqa: S108
    found = f"{total / 2**30:.1f} GiB"
    if shared is not None and shared < 128 * 2**20:
        return Finding("memory", found, False, "Ray needs 128 MiB free in /dev/shm")
    return Finding("memory", found)


def _device(device: dict[str, Any], complaint: str) -> list[Finding]:
    if not device:
        advice = "install the worker's packages: pip install 'brainformer-search[cpu]'"
        return [Finding("jax", complaint or "no answer", False, advice)]
    noise = device["contention"]
    return [
        Finding("jax", f"{device['jax']}, {device['devices']} x {device['kind']}"),
        Finding("platform", device["platform"]),
        Finding("device memory", f"{device['memory_bytes'] / 2**30:.1f} GiB for a trial"),
        Finding("reference kernel", f"{device['reference_ms']:.2f} ms of processor time"),
        Finding(
            "noise",
            f"{100 * (noise - 1):.0f}% above the quiet time",
            advice="shared or throttled: keep to the calibrated clock"
            if noise > NOISY
            else "quiet",
        ),
    ]


def _ray() -> Finding:
    try:
        installed = version("ray")
    except PackageNotFoundError:
        return Finding("ray", "not installed", False, "pip install 'brainformer-search[cpu]'")
    code, out, complaint = _run([sys.executable, "-P", "-c", RAY_TRIAL], dict(os.environ))
    if code != 0 or not out.strip().endswith("42"):
        return Finding("ray", f"{installed}, does not start: {complaint}", False)
    return Finding("ray", f"{installed}, starts")


def _data(folder: Path | None) -> list[Finding]:
    findings = []
    try:
        open_dataset(BUILT_IN, folder)
        names = [manifest.id for manifest in list_datasets(folder)]
    except BrainformerError as error:
        return [Finding("data", error.message, False, "remove the data set; it is made again")]
    for name in names:
        try:
            manifest = open_dataset(name, folder).manifest
        except BrainformerError as error:
            findings.append(Finding(f"data {name}", error.message, False, "prepare it again"))
            continue
        tokens = f"{manifest.train_tokens:,} tokens, hash {manifest.hash[:12]}"
        findings.append(Finding(f"data {name}", tokens))
    return findings


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Returns exit status, output and the last line of the errors."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"no answer within {PROBE_SECONDS} s"
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    return done.returncode, done.stdout, lines[-1].strip() if lines else ""
