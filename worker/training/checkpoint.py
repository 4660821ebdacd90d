"""Checkpoints of a trial: its state, its steps and the budget that it has spent.

orbax writes the arrays, each host its own; a JSON file, replaced last, names the arrays that count,
so a process that dies at any moment leaves the older checkpoint or the newer. Arrays are kept in a
form that does not depend on the devices: a trial goes on on another mesh. orbax is imported only
when there is something to save or to restore.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainformer.search.trials.trial import CurvePoint
from brainformer.worker.devices.hosts import Hosts, OneHost
from brainformer.worker.timing.clock import Clock

PROGRESS = "progress.json"
ARRAYS = "arrays"
SAVING_SHARE = 0.05  # of the time at most goes into checkpoints that nobody has asked for


class SavedProgress(BaseModel):
    """Where an attempt stood.

    Attributes:
        digest: Of the genome; a checkpoint of another one is not used.
        total_steps: Decided by the calibrated clock; None under the wall clock.
        occupied_seconds: From claim to here, all attempts together.
        curve: The points so far.
        arrays: The folder of the state's arrays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    seed: int
    steps: Annotated[int, Field(ge=0)]
    total_steps: Annotated[int, Field(ge=1)] | None
    training_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    occupied_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    curve: tuple[CurvePoint, ...] = ()
    arrays: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] = ARRAYS


class SavingTimes:
    """When a checkpoint is due that nobody has asked for.

    Args:
        clock: Real time.
        every_seconds: At least between two of them; None for never.
    """

    def __init__(self, clock: Clock, every_seconds: float | None) -> None:
        self._clock = clock
        self._pause = every_seconds
        self._last = clock.now()

    @property
    def due(self) -> bool:
        """Whether it is time: one that takes long to write is written seldom."""
        return self._pause is not None and self._clock.now() - self._last >= self._pause

    def saved(self, seconds: float) -> None:
        """Notes that one has just been written, in so many seconds."""
        self._last = self._clock.now()
        if self._pause is not None:
            self._pause = max(self._pause, seconds / SAVING_SHARE)


def save_checkpoint(
    folder: Path, state: Any, progress: SavedProgress, *, hosts: Hosts | None = None
) -> None:
    """Writes the state's arrays and then the progress, which replaces an older checkpoint.

    Args:
        folder: The trial's own folder, which all hosts see.
        state: Any pytree of arrays, the same on every host but for where they lie.
        progress: What else the next attempt must know.
        hosts: Of the trial; all of them call this at the same step.
    """
    hosts = hosts or OneHost()
    folder.mkdir(parents=True, exist_ok=True)
    kept = _newest(folder)
    # Two names in turn: what the present progress names is never written to.
    name = f"{ARRAYS}-{'b' if kept == f'{ARRAYS}-a' else 'a'}"
    name = hosts.agree(lambda: name)
    write_state(folder / name, state)
    if hosts.first:
        part = folder / f"{PROGRESS}.part"
        part.write_text(progress.model_copy(update={"arrays": name}).model_dump_json(), "utf-8")
        part.replace(folder / PROGRESS)
    hosts.agree(lambda: None)  # nobody goes on before it counts
    if hosts.first and kept is not None and kept != name:
        shutil.rmtree(folder / kept, ignore_errors=True)


def write_state(place: Path, state: Any) -> None:
    """Writes a state's arrays into a folder of their own; all hosts call this at the same step.

    Args:
        place: The folder, which is replaced.
        state: Any pytree of arrays.
    """
    from orbax.checkpoint import PyTreeCheckpointer

    PyTreeCheckpointer().save(place.absolute(), _numbered(state), force=True)


def _newest(folder: Path) -> str | None:
    try:
        return SavedProgress.model_validate_json((folder / PROGRESS).read_bytes()).arrays
    except (OSError, ValidationError):
        return None


def _numbered(state: Any) -> dict[str, Any]:
    leaves = jax.tree.leaves(state)
    whole = [leaf if _is_spread(leaf) else np.asarray(leaf) for leaf in leaves]
    return {f"{i:05d}": leaf for i, leaf in enumerate(whole)}


def _is_spread(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1


def read_progress(folder: Path, *, digest: str, seed: int) -> SavedProgress | None:
    """Returns the progress saved for this genome and seed, or None where there is none."""
    try:
        saved = SavedProgress.model_validate_json((folder / PROGRESS).read_bytes())
    except (OSError, ValidationError):
        return None  # no checkpoint, or a damaged one: the trial starts afresh
    return saved if (saved.digest, saved.seed) == (digest, seed) else None


def restore_state(folder: Path, like: Any, *, arrays: str = ARRAYS) -> Any | None:
    """Returns the saved state, or None if it does not fit.

    Args:
        folder: The trial's own.
        like: Shapes and types; a value whose shape says where it lies is read there, the others
            are read to the host.
        arrays: As the saved progress names them.
    """
    from orbax.checkpoint import PyTreeCheckpointer

    leaves, structure = jax.tree.flatten(like)
    names = [f"{i:05d}" for i in range(len(leaves))]
    try:
        reader = PyTreeCheckpointer()
        path = (folder / arrays).absolute()
        metadata: dict[str, Any] = dict(reader.metadata(path).item_metadata.tree)
        fits = sorted(metadata) == names and all(
            tuple(metadata[name].shape) == tuple(leaf.shape) and metadata[name].dtype == leaf.dtype
            for name, leaf in zip(names, leaves, strict=True)
        )
        if not fits:
            return None
        saved = reader.restore(path, restore_args=dict(zip(names, map(_how, leaves), strict=True)))
    except (ValueError, OSError, KeyError, AttributeError):
        return None
    return jax.tree.unflatten(structure, [saved[name] for name in names])


def _how(leaf: Any) -> Any:
    """Returns how orbax is to read a value."""
    from orbax.checkpoint import ArrayRestoreArgs, RestoreArgs

    where = getattr(leaf, "sharding", None)
    if where is None:
        return RestoreArgs(restore_type=np.ndarray)
    return ArrayRestoreArgs(sharding=where, global_shape=leaf.shape, dtype=leaf.dtype)


def discard_checkpoint(folder: Path) -> None:
    """Removes the trial's checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)
