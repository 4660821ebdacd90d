"""Prints a benchmark's figure as one JSON line and keeps it in benchmarks/results/."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    *("jax", "flax", "optax", "ray", "torch", "transformers", "optuna", "pyglove"),
    *("sqlalchemy", "fastapi"),
)


def report(
    *,
    name: str,
    value: float | str | None,
    unit: str,
    target: str,
    ok: bool | None,
    peers: dict[str, Any] | None = None,
    details: dict[str, Any] | None = None,
    keep: bool = True,
) -> dict[str, Any]:
    """Prints and keeps one result.

    Args:
        name: The benchmark's name, also the result file's.
        value: The figure that the benchmark is for; None or "not run" where it could not be taken.
        unit: Its unit.
        target: The bar, in words.
        ok: Whether the bar was reached; None when not run.
        peers: What was measured beside it in the same run.
        details: Whatever else a reader needs.
        keep: Whether to append to benchmarks/results/.

    Returns:
        The object that was printed.
    """
    line: dict[str, Any] = {
        "name": name,
        "value": value,
        "unit": unit,
        "target": target,
        "ok": ok,
        "peers": peers or {},
        "details": details or {},
        "machine": machine(),
        "versions": versions(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(line)
    if keep:
        RESULTS.mkdir(exist_ok=True)
        with (RESULTS / f"{name}.jsonl").open("a") as file:
            file.write(text + "\n")
    print(text)
    return line


def machine() -> dict[str, Any]:
    """Returns processor, cores and memory; nothing that names the host."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Returns Python's version and those of the packages that matter, where installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
