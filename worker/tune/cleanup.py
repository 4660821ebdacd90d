"""Cleanup of the state folder: what trials leave behind stays bounded."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

KEEP_CHECKPOINTS_SECONDS = 7 * 24 * 3600.0
COMPILED_BYTES = 2 * 2**30  # some thousand nano genomes


def discard_old_checkpoints(folder: Path, *, seconds: float = KEEP_CHECKPOINTS_SECONDS) -> None:
    """Removes checkpoints that nobody has resumed, for instance of a deleted search."""
    for place in folder.iterdir():
        if time.time() - place.stat().st_mtime > seconds:
            shutil.rmtree(place, ignore_errors=True)
            place.unlink(missing_ok=True) if place.is_file() else None


def prune_compiled(folder: Path, *, limit_bytes: int = COMPILED_BYTES) -> None:
    """Removes the oldest compiled programs until the rest take up at most `limit_bytes`."""
    programs = []
    for path in folder.glob("jit_*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # another worker was faster
        programs.append((status.st_mtime, status.st_size, path))
    excess = sum(size for _, size, _ in programs) - limit_bytes
    for _, size, path in sorted(programs):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size
