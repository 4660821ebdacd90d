"""The manifest of a checkpoint: what it is of, and the hash of every file that belongs to it.

It is written last, into a folder that takes its name in one step, so a checkpoint is whole or not
there. Its own digest covers all of it. That guards against accidents and confusion, not against an
attacker, who could write a manifest of their own; nothing in a checkpoint is executed, no pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainformer.search.errors import InvalidCheckpoint
from brainformer.search.export.manifest import (
    ExportedFile,
    check_file,
    check_schema_version,
    check_seal,
    described,
    manifest_json,
    sealed_json,
)
from brainformer.search.export.provenance import Digest
from brainformer.search.validation import first_problem
from brainformer.worker.pretraining.plan import TrainingPlan

MANIFEST = "checkpoint.json"
ARRAYS = "arrays"
SCHEMA_VERSION = 1
# Names that orbax and we give: below the checkpoint's folder, never outside it.
FilePath = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}){0,7}$"),
]


class CheckpointManifest(BaseModel):
    """What a checkpoint is of.

    Attributes:
        digest: Of the genome.
        run: Of the run that wrote it, drawn when it began.
        step: Steps done; data and learning rate of the next one follow from it.
        elapsed_seconds: Of the run so far, all processes together, without compiling.
        validation_loss: Of these parameters, in nats a token; None if nobody has measured it.
        bits_per_byte: The same as bits a byte.
        files: Every file but this one, by its path below the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["brainformer-checkpoint"] = "brainformer-checkpoint"
    schema_version: Literal[1] = 1
    digest: Digest
    plan: TrainingPlan
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    step: Annotated[int, Field(ge=0)]
    elapsed_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    validation_loss: Annotated[float, Field(allow_inf_nan=False)] | None = None
    bits_per_byte: Annotated[float, Field(allow_inf_nan=False)] | None = None
    versions: dict[str, str] = {}
    files: dict[FilePath, ExportedFile] = {}

    @property
    def tokens(self) -> int:
        """Tokens trained on."""
        return self.step * self.plan.tokens_per_step

    def to_json(self) -> str:
        """Returns readable JSON, the genome in its canonical form, sealed by its digest."""
        data = self.model_dump(mode="json", exclude_none=True)
        data["plan"]["genome"] = self.plan.genome.canonical()
        return sealed_json(data)


def is_checkpoint(folder: Path) -> bool:
    """Returns whether a folder says that it is a checkpoint; it is not read."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> CheckpointManifest:
    """Returns the manifest of a checkpoint; its files are not read.

    Raises:
        NotFound: there is no such folder.
        InvalidCheckpoint: it is no checkpoint, a newer version wrote it, or it was changed.
    """
    path = folder / MANIFEST
    data = manifest_json(path, "checkpoint", error=InvalidCheckpoint)
    return _checked(data, path)


def _checked(data: Any, path: Path) -> CheckpointManifest:
    if not isinstance(data, dict):
        raise InvalidCheckpoint(f"{path} is damaged: it is not a JSON object")
    check_schema_version(data, path, newest=SCHEMA_VERSION, error=InvalidCheckpoint)
    check_seal(data, path, required=True, error=InvalidCheckpoint)
    try:
        manifest = CheckpointManifest.model_validate(data)
    except ValidationError as error:
        rule, value, where = first_problem(error, data)
        raise InvalidCheckpoint(f"{path} is not a manifest: {rule}", value, where) from None
    if manifest.digest != manifest.plan.genome.digest:
        raise InvalidCheckpoint(f"the digest in {path} does not match its genome")
    return manifest


def files_of(folder: Path) -> dict[str, ExportedFile]:
    """Returns the length and hash of every file in a folder but the manifest, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: described(path) for name, path in names.items() if name != MANIFEST}


def check_files(folder: Path, manifest: CheckpointManifest) -> None:
    """Compares every file of a checkpoint with its manifest.

    Raises:
        InvalidCheckpoint: a file is missing, truncated, changed or one too many.
    """
    try:
        found = files_of(folder)
    except OSError as error:
        raise InvalidCheckpoint(f"cannot read {error.filename}: {error.strerror}") from None
    for name, expected in manifest.files.items():
        path = folder / name
        if name not in found:
            raise InvalidCheckpoint(f"{path} is missing: the checkpoint is damaged")
        check_file(path, found[name], expected, error=InvalidCheckpoint)
    foreign = sorted(found.keys() - manifest.files.keys())
    if foreign:
        raise InvalidCheckpoint(f"{folder / foreign[0]} does not belong to the checkpoint")
