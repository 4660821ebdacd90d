"""The manifest of an exported folder: which files belong to it, and the hash of each.

It is written last, into a folder that takes its name in one step, so an export is whole or not
there. Its own digest covers everything else in it, so that neither a file nor a figure can be
changed without notice. This guards against accidents and confusion, not against an attacker, who
could write a manifest of their own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainformer.search.errors import InvalidExport, InvalidInput, NotFound, placed
from brainformer.search.export.provenance import Digest, Provenance
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.validation import first_problem

MANIFEST = "export.json"
SCHEMA_VERSION = 1
PIECE_BYTES = 2**20
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]


class ExportedFile(BaseModel):
    """One file of an export."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: Annotated[int, Field(ge=0)]
    sha256: Digest


class ExportManifest(BaseModel):
    """What an exported folder holds and where it comes from.

    Attributes:
        format: `weights`, `flax` or `huggingface`.
        digest: Of the genome.
        proxy: The shapes that the genome leaves open: blocks stacked, experts, head dim ...
        files: Every file but the manifest, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["weights", "flax", "huggingface"]
    schema_version: Literal[1] = 1
    digest: Digest
    genome: Genome
    proxy: Proxy
    provenance: Provenance
    files: dict[FileName, ExportedFile]

    def to_json(self) -> str:
        """Returns readable JSON, the genome in its canonical form, sealed by its digest."""
        data = self.model_dump(mode="json", exclude_none=True)
        return sealed_json(data | {"genome": self.genome.canonical()})


def sealed_json(data: dict[str, Any]) -> str:
    """Returns plain data as readable JSON with the digest of all of it."""
    return json.dumps(data | {"content_digest": content_digest(data)}, indent=2) + "\n"


def check_seal(
    data: Any, path: Path, *, required: bool, error: type[InvalidInput] = InvalidExport
) -> None:
    """Takes the digest out of what a file says and compares it with the rest.

    The digest is that of what the file says, not of what this version makes of it, so that a field
    with a default that is added later does not break the seal of older files.

    Raises:
        InvalidExport: the file was changed; or `error`, if that is another class.
    """
    sealed = data.pop("content_digest", None) if isinstance(data, dict) else None
    if (sealed is not None or required) and sealed != content_digest(data):
        raise error(f"{path} was changed: its digest is not that of its content")


def content_digest(data: dict[str, Any]) -> str:
    """Returns the SHA-256 of plain data as JSON with sorted keys and no white space."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def described(path: Path) -> ExportedFile:
    """Returns the length and the hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return ExportedFile(bytes=path.stat().st_size, sha256=digest.hexdigest())


def read_manifest(folder: Path) -> ExportManifest:
    """Returns the manifest of an exported folder; its files are not read.

    Raises:
        NotFound: there is no such folder.
        InvalidExport: it is not an export, a newer version wrote it, or it was changed.
    """
    path = folder / MANIFEST
    data = manifest_json(path, "exported folder", again="; export the model again")
    return _checked(data, path)


def manifest_json(
    path: Path, kind: str, *, again: str = "", error: type[InvalidInput] = InvalidExport
) -> Any:
    """Returns the JSON of a folder's manifest, unchecked.

    Args:
        path: Of the manifest.
        kind: What a folder with one is.
        again: What to do about a damaged one.
        error: The class to raise.

    Raises:
        NotFound: there is no such folder.
        InvalidExport: it holds no manifest, or one that is not JSON; or `error`.
    """
    folder = path.parent
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if not folder.exists():
            raise NotFound(kind, folder) from None
        article = "an" if kind[0] in "aeiou" else "a"
        raise error(f"{folder} is not {article} {kind}: it holds no {path.name}") from None
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}") from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise error(f"{path} is damaged: it is not JSON{again}") from None


def check_files(folder: Path, manifest: ExportManifest) -> None:
    """Compares every file of an export with its manifest.

    Raises:
        InvalidExport: a file is missing, truncated or changed.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            found = described(path)
        except FileNotFoundError:
            raise InvalidExport(f"{path} is missing; export the model again") from None
        except OSError as error:
            raise InvalidExport(f"cannot read {path}: {error.strerror}") from None
        check_file(path, found, expected, again="; copy or export it again")


def check_file(
    path: Path,
    found: ExportedFile,
    expected: ExportedFile,
    *,
    again: str = "",
    error: type[InvalidInput] = InvalidExport,
) -> None:
    """Compares a file with what its manifest says of it.

    Raises:
        InvalidExport: it is truncated or changed; or `error`.
    """
    if found.bytes != expected.bytes:
        raise error(
            f"{path} must be {expected.bytes} bytes long, it has {found.bytes}: it was cut short "
            f"or changed{again}"
        )
    if found.sha256 != expected.sha256:
        raise error(
            f"{path} was changed: its SHA-256 is {found.sha256[:12]}, the manifest states "
            f"{expected.sha256[:12]}{again}"
        )


def check_schema_version(
    data: Any,
    path: Path,
    *,
    newest: int = SCHEMA_VERSION,
    error: type[InvalidInput] = InvalidExport,
) -> None:
    """Refuses what a newer version of this project wrote.

    Raises:
        InvalidExport: says which version is needed; or `error`.
    """
    found = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(found, int) and not isinstance(found, bool) and found > newest:
        raise error(
            f"{path} has schema version {found}, this version reads up to {newest}; "
            "upgrade brainformer-search"
        )


def _checked(data: Any, path: Path) -> ExportManifest:
    check_schema_version(data, path)
    check_seal(data, path, required=isinstance(data, dict) and "files" in data)
    try:
        manifest = ExportManifest.model_validate(data)
    except ValidationError as error:
        first = first_problem(error)
        told = placed(first.rule, first.pointer)
        raise InvalidExport(f"{path} is not a manifest: {told}") from None
    if manifest.digest != manifest.genome.digest:
        raise InvalidExport(f"the digest in {path} does not match its genome")
    return manifest
