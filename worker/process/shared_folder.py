"""Whether hosts share a folder: one leaves a mark in it, the others look for it."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from brainformer.search.errors import EnvironmentProblem

LOOK_SECONDS = 5.0  # a network file system shows what another host wrote a moment later
PAUSE_SECONDS = 0.1


def leave_mark(folder: Path) -> Path:
    """Returns a file of that folder that nobody else has; whoever asked for it removes it.

    Raises:
        EnvironmentProblem: the folder cannot be written.
    """
    mark = folder / f".mark-{uuid.uuid4().hex}"
    try:
        mark.touch()
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write {folder}: {error.strerror}", "choose another --checkpoints"
        ) from None
    return mark


def sees(mark: Path) -> bool:
    """Returns whether this host sees the mark, within a few seconds."""
    end = time.monotonic() + LOOK_SECONDS
    while not mark.exists():
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE_SECONDS)
    return True


def not_shared(folder: Path) -> str:
    """Returns what is wrong with a folder that a host does not share, and what to do."""
    return (
        f"it does not see what the first host writes to {folder}; give --checkpoints a folder on "
        "storage that all hosts of a trial share"
    )
