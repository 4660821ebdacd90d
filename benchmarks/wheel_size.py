"""What `pip install` of the core alone fetches: the wheels of requirements/controller.txt.

`value` is the size of all wheels but numpy's and scipy's, this project's own included, in MB.

    python -m benchmarks.wheel_size
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import report
from tests.repository import REPOSITORY

BAR_MB = 60.0
BESIDE = ("numpy", "scipy")


def main() -> None:
    """Fetches the locked wheels, builds ours, reports."""
    with tempfile.TemporaryDirectory(prefix="wheels-") as name:
        folder = Path(name)
        locked = REPOSITORY / "requirements" / "controller.txt"
        _pip("download", "--require-hashes", "--only-binary=:all:", "-r", str(locked), into=folder)
        _pip("wheel", str(REPOSITORY), into=folder)
        sizes = {file.name: file.stat().st_size / 1e6 for file in folder.glob("*.whl")}
    others = {file: size for file, size in sizes.items() if not file.startswith(BESIDE)}
    for file, size in sorted(sizes.items(), key=lambda one: -one[1])[:12]:
        print(f"{size:8.2f} MB  {file}")
    total = sum(others.values())
    report(
        name="wheel-size",
        value=round(total, 2),
        unit="MB of wheels that the core needs beside numpy and scipy",
        target=f"at most {BAR_MB:g} MB",
        ok=total <= BAR_MB,
        details={
            "wheels": len(sizes),
            "with_numpy_and_scipy_mb": round(sum(sizes.values()), 2),
            "largest_mb": {
                file.split("-")[0]: round(size, 2)
                for file, size in sorted(others.items(), key=lambda one: -one[1])[:8]
            },
        },
    )


def _pip(command: str, *words: str, into: Path) -> None:
    where = "-w" if command == "wheel" else "-d"
    line = [sys.executable, "-m", "pip", "--quiet", command, "--no-deps", where, str(into), *words]
    subprocess.run(line, check=True)


if __name__ == "__main__":
    main()
