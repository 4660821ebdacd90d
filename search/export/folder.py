"""An exported folder appears whole or not at all, and never replaces anything but an export."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.export.manifest import MANIFEST, ExportManifest, described

ELSEWHERE = "choose another place with --output"


def write_folder(
    folder: Path, manifest: ExportManifest, *, fill: Callable[[Path], None]
) -> ExportManifest:
    """Writes an exported folder; an earlier export of that name is replaced at the end.

    Args:
        folder: Where it will stand.
        manifest: All but the files and the digest, which are found here.
        fill: Writes the files into a folder that it is given.

    Returns:
        The manifest as it was written.

    Raises:
        EnvironmentProblem: something else is in the way, or the disk is full or not writable;
            what stood there before is untouched.
    """
    _check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {folder}: {error.strerror}", ELSEWHERE) from None
    try:
        fill(part)
        files = {path.name: described(path) for path in sorted(part.iterdir())}
        whole = manifest.model_copy(update={"files": files})
        (part / MANIFEST).write_text(whole.to_json(), "utf-8")
        _flush(part)
        part.chmod(0o755)
        _take_place(part, folder)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {folder}: {error.strerror}", ELSEWHERE) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return whole


def _check_free(folder: Path) -> None:
    """Refuses a path that holds anything but one of our exports."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise EnvironmentProblem(f"{folder} is there already and is not a folder", ELSEWHERE)
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise EnvironmentProblem(
            f"the folder {folder} is there already and is not an export; nothing was written",
            ELSEWHERE,
        )


def _take_place(part: Path, folder: Path) -> None:
    """Gives the new folder its name; if that fails, the old one has it again."""
    if not folder.exists():
        part.replace(folder)
        return
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
    folder.replace(aside)
    try:
        part.replace(folder)
    except OSError:
        aside.replace(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Has the disk keep every file before the folder gets its name."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
