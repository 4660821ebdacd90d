"""The folder of one run: its checkpoints, its journal, and a lock while somebody trains in it.

    RUN/checkpoints/0000001200/    checkpoint.json, arrays/, the tokenizer's file
    RUN/journal.jsonl              a line for every report, validation and checkpoint

A checkpoint takes its name in one step, after every byte of it is on disk, so a process that dies
at any moment leaves whole ones only. One that would take the place of another is never written:
a run has one past.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from brainformer.search.errors import Conflict, EnvironmentProblem, InvalidCheckpoint, NotFound
from brainformer.search.export.provenance import versions_of
from brainformer.worker.datasets.kept_tokenizer import keep_tokenizer
from brainformer.worker.datasets.tokenizers import Tokenizer
from brainformer.worker.devices.hosts import Hosts
from brainformer.worker.pretraining.manifest import (
    ARRAYS,
    MANIFEST,
    CheckpointManifest,
    check_files,
    files_of,
    is_checkpoint,
    read_manifest,
)
from brainformer.worker.training.checkpoint import restore_state, write_state

CHECKPOINTS = "checkpoints"
JOURNAL = "journal.jsonl"
LOCK = "lock"
REMOVALS, BETWEEN_REMOVALS = 50, 0.1  # s
STEP_NAME = re.compile(r"[0-9]{10}")
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")


class RunFolder:
    """The folder of one run.

    Args:
        folder: Where it is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether a run is there."""
        return (self.folder / CHECKPOINTS).is_dir() and bool(self.checkpoints())

    def checkpoints(self) -> list[Path]:
        """Returns the folders of the checkpoints, oldest first."""
        place = self.folder / CHECKPOINTS
        names = (one.name for one in place.glob("*") if STEP_NAME.fullmatch(one.name))
        return [place / name for name in sorted(names) if is_checkpoint(place / name)]

    def newest(self) -> Path:
        """Returns the checkpoint with the most steps.

        Raises:
            NotFound: there is none.
        """
        found = self.checkpoints()
        if not found:
            raise NotFound("checkpoint in", self.folder)
        return found[-1]

    def best(self) -> Path:
        """Returns the checkpoint with the lowest validation loss, the newest if none has one.

        Raises:
            NotFound: there is none.
            InvalidCheckpoint: a manifest is damaged.
        """
        judged = [(read_manifest(one).validation_loss, one) for one in self.checkpoints()]
        known = [(loss, one) for loss, one in judged if loss is not None]
        return min(known, key=lambda pair: pair[0])[1] if known else self.newest()

    def check_free(self) -> None:
        """Refuses a place that holds something other than a run.

        Raises:
            EnvironmentProblem: names it; nothing was touched.
        """
        folder = self.folder
        elsewhere = "choose another place with --output"
        if folder.exists() and not folder.is_dir():
            raise EnvironmentProblem(f"{folder} is there already and is not a folder", elsewhere)
        if folder.is_dir() and {one.name for one in folder.iterdir()} - {LOCK, CHECKPOINTS}:
            raise EnvironmentProblem(
                f"the folder {folder} is there already and is not a run; nothing was written",
                elsewhere,
            )

    @contextmanager
    def held(self, hosts: Hosts) -> Iterator[None]:
        """Keeps other processes from training in the folder; makes it where it is missing.

        Raises:
            Conflict: another process trains in it.
            EnvironmentProblem: it cannot be made or written.
        """
        if not hosts.first:
            yield
            return
        try:
            (self.folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            lock = (self.folder / LOCK).open("ab")
        except OSError as error:
            raise _cannot_write(self.folder, error) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Conflict(
                    f"another process trains in {self.folder}; stop it first, or choose another "
                    "place with --output"
                ) from None
            for left in (self.folder / CHECKPOINTS).glob(".*"):
                shutil.rmtree(left, ignore_errors=True)  # of a process that died
            try:
                yield
            finally:
                if not self.checkpoints():
                    self._vanish()

    def _vanish(self) -> None:
        """Removes what a run that never began has made of the folder."""
        with suppress(OSError):
            (self.folder / LOCK).unlink()
            (self.folder / CHECKPOINTS).rmdir()
            self.folder.rmdir()

    def write(
        self, state: Any, manifest: CheckpointManifest, tokenizer: Tokenizer | None, hosts: Hosts
    ) -> Path:
        """Writes a checkpoint and returns its folder; all hosts call this at the same step.

        Args:
            state: As checkpoints keep it.
            manifest: All but the files.
            tokenizer: Of the data, to be kept beside; None where nobody has it.
            hosts: Of the run.

        Raises:
            EnvironmentProblem: the disk is full or not writable; earlier checkpoints are untouched.
        """
        place = self.folder / CHECKPOINTS
        final, part = place / f"{manifest.step:010d}", place / f".{manifest.step:010d}"
        try:
            if hosts.first:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
            hosts.agree(lambda: None)
            write_state(part / ARRAYS, state)
            if hosts.first:
                if tokenizer is not None:
                    keep_tokenizer(part, tokenizer)
                _seal(part, manifest)
                part.replace(final)
                _flush_folder(place)
        except (OSError, ValueError) as error:  # orbax's own are ValueErrors
            _remove_for_good(part)
            raise _cannot_write(final, error) from error
        hosts.agree(lambda: None)  # nobody goes on before it counts
        return final

    def prune(self, *, keep: int) -> None:
        """Removes what is neither among the newest nor the best, nor where the decay began."""
        every = self.checkpoints()
        kept = {*every[-keep:], self.best()}
        start = read_manifest(every[-1]).plan.decay_start
        if start is not None:
            before = [one for one in every if int(one.name) <= start]
            kept |= set(before[-1:])
        for one in every:
            if one not in kept:
                gone = one.with_name(f".{one.name}")
                one.replace(gone)  # half-removed it would look like one
                shutil.rmtree(gone, ignore_errors=True)

    def note(self, kind: str, **values: Any) -> None:
        """Adds a line to the journal; a line that cannot be written does not end the run."""
        try:
            with (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"kind": kind, **values}) + "\n")
        except OSError:
            return

    def forget_after(self, step: int) -> None:
        """Takes out of the journal what a process that died did after its last checkpoint."""
        path = self.folder / JOURNAL
        if not path.is_file():
            return
        kept = [line for line in path.read_text("utf-8").splitlines() if _up_to(line, step)]
        part = path.with_name(f"{JOURNAL}.part")
        part.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        part.replace(path)


def _remove_for_good(part: Path) -> None:
    """Removes what a failed write leaves behind.

    Where one array could not be written, orbax says so while it still writes others, whose files
    come after the first removal.
    """
    unseen = 0
    for _ in range(REMOVALS):
        unseen = unseen + 1 if not part.exists() else 0
        if unseen > 1:
            return
        shutil.rmtree(part, ignore_errors=True)
        time.sleep(BETWEEN_REMOVALS)


def read_checkpoint(folder: Path, shapes: Any) -> Any:
    """Returns the state in a checkpoint, every file checked before anything is read.

    Args:
        folder: The checkpoint's own.
        shapes: Of the state as checkpoints keep it, and where each value is to lie.

    Raises:
        NotFound: there is no such folder.
        InvalidCheckpoint: it is damaged, or of another model.
    """
    check_files(folder, read_manifest(folder))
    found = restore_state(folder, shapes, arrays=ARRAYS)
    if found is None:
        raise InvalidCheckpoint(f"the arrays in {folder} are not those of its own plan")
    return found


def _seal(part: Path, manifest: CheckpointManifest) -> None:
    """Writes the manifest, last, and has the disk keep all of it."""
    update = {"files": files_of(part), "versions": versions_of(PACKAGES)}
    (part / MANIFEST).write_text(manifest.model_copy(update=update).to_json(), "utf-8")
    for path in part.rglob("*"):
        if path.is_dir():
            _flush_folder(path)
            continue
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    _flush_folder(part)


def _flush_folder(folder: Path) -> None:
    """Has the disk keep the names in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot_write(place: Path, error: Exception) -> EnvironmentProblem:
    why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return EnvironmentProblem(
        f"cannot write {place}: {why}",
        "what was saved before is untouched; make room, or choose another place with --output",
    )


def _up_to(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False  # cut short when its process died
