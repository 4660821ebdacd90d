"""Checkpoints of a preempted trial: its state, its steps and the budget that it has spent.

orbax writes the arrays; a JSON file, written last, makes the checkpoint count. orbax is imported
only when there is something to save or to restore.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainformer.search.trials.trial import CurvePoint

PROGRESS = "progress.json"
ARRAYS = "arrays"


class SavedProgress(BaseModel):
    """Where a preempted attempt stood.

    Attributes:
        digest: Of the genome; a checkpoint of another one is not used.
        total_steps: Decided by the calibrated clock; None under the wall clock.
        occupied_seconds: From claim to preemption, all attempts together.
        curve: The points so far.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    seed: int
    steps: Annotated[int, Field(ge=0)]
    total_steps: Annotated[int, Field(ge=1)] | None
    training_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    occupied_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    curve: tuple[CurvePoint, ...] = ()


def save_checkpoint(folder: Path, state: Any, progress: SavedProgress) -> None:
    """Writes the state's arrays and then the progress, replacing an older checkpoint.

    Args:
        folder: The trial's own folder.
        state: Any pytree of arrays.
        progress: What else the next attempt must know.
    """
    from orbax.checkpoint import PyTreeCheckpointer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROGRESS).unlink(missing_ok=True)
    arrays = {f"{i:05d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    PyTreeCheckpointer().save((folder / ARRAYS).absolute(), arrays, force=True)
    part = folder / f"{PROGRESS}.part"
    part.write_text(progress.model_dump_json(), "utf-8")
    part.replace(folder / PROGRESS)


def read_progress(folder: Path, *, digest: str, seed: int) -> SavedProgress | None:
    """Returns the progress saved for this genome and seed, or None where there is none."""
    try:
        saved = SavedProgress.model_validate_json((folder / PROGRESS).read_bytes())
    except (OSError, ValidationError):
        return None  # no checkpoint, or a damaged one: the trial starts afresh
    return saved if (saved.digest, saved.seed) == (digest, seed) else None


def restore_state(folder: Path, like: Any) -> Any | None:
    """Returns the saved state, on the host, or None if it does not fit the shapes `like`."""
    from orbax.checkpoint import PyTreeCheckpointer

    leaves, structure = jax.tree.flatten(like)
    try:
        saved = PyTreeCheckpointer().restore((folder / ARRAYS).absolute())
    except (ValueError, OSError, KeyError):
        return None
    arrays = [saved.get(f"{i:05d}") for i in range(len(leaves))]
    fits = len(saved) == len(leaves) and all(
        array is not None and array.shape == leaf.shape and array.dtype == leaf.dtype
        for array, leaf in zip(arrays, leaves, strict=True)
    )
    if not fits:
        return None
    return jax.tree.unflatten(structure, [np.asarray(array) for array in arrays])


def discard_checkpoint(folder: Path) -> None:
    """Removes the trial's checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)
