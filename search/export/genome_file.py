"""The exported genome file: a block with where it came from, checked by its digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from brainformer.search.errors import InvalidExport, NotFound
from brainformer.search.export.manifest import (
    check_schema_version,
    check_seal,
    sealed_json,
)
from brainformer.search.export.provenance import Digest, Provenance
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.scaling.solving import Scaled, scaled_to
from brainformer.search.scaling.target import Target, target_of_size
from brainformer.search.space.genome import Genome
from brainformer.search.trials.trial import Measurements
from brainformer.search.validation import first_problem


class GenomeExport(BaseModel):
    """One exported genome.

    Attributes:
        digest: SHA-256 of the genome's canonical JSON; `read_export` checks it.
        proxy: What the trial shared with all others: blocks stacked, experts, head dim, data ...
        fitness: Nats a token better than the baseline on the same pool.
        baseline: The baseline's figures on that pool.
        scaled_from: Digest of the block that was measured, if this one is a scaled copy of it.
        versions: Of Python and of this project when it was written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["brainformer-genome"] = "brainformer-genome"
    schema_version: Literal[1] = 1
    digest: Digest
    genome: Genome
    proxy: Proxy
    search_id: str
    search_name: str
    trial_number: int
    fitness: float | None = None
    confidence: float | None = None
    measurements: Measurements = Measurements()
    baseline: dict[str, Any] | None = None
    scaled_from: Digest | None = None
    versions: dict[str, str] = {}

    def to_json(self) -> str:
        """Returns readable JSON, the genome in its canonical form, sealed by its digest."""
        data = self.model_dump(mode="json", exclude_none=True)
        return sealed_json(data | {"genome": self.genome.canonical()})

    def provenance(self) -> Provenance:
        """Returns where the block comes from, as the manifests of folders have it."""
        return Provenance(
            search_id=self.search_id,
            search_name=self.search_name,
            trial_number=self.trial_number,
            scaled_from=self.scaled_from,
            dataset=self.proxy.dataset,
            dataset_hash=self.proxy.dataset_hash,
            versions=self.versions,
        )


def scale_export(export: GenomeExport, target: Target | int) -> tuple[GenomeExport, Scaled]:
    """Returns the block at a target, and how near it comes.

    Args:
        export: The block as it was found.
        target: What is wanted; a number is a usual target of so many activated parameters.

    Raises:
        InvalidGenome: the scaled block cannot be trained at the target.
        InvalidSpec: nothing within the target's bounds comes within 5% of it.
    """
    wanted = target_of_size(target) if isinstance(target, int) else target
    scaled = scaled_to(export.genome, export.proxy, wanted)
    written = export.model_copy(
        update={
            "genome": scaled.genome,
            "digest": scaled.genome.digest,
            "proxy": scaled.proxy,
            "scaled_from": export.digest,
            "fitness": None,
            "confidence": None,
            "measurements": Measurements(),
            "baseline": None,
        }
    )
    return written, scaled


def read_export(path: Path) -> GenomeExport:
    """Returns the genome exported to `path`.

    Raises:
        NotFound: there is no such file.
        InvalidExport: it is not an export, a newer version wrote it, or it was changed.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFound("file", path) from None
    except OSError as error:
        raise InvalidExport(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise InvalidExport(f"{path} is not an exported genome: it is not JSON") from None
    check_schema_version(data, path)
    check_seal(data, path, required=False)  # files of before there were seals have none
    try:
        export = GenomeExport.model_validate(data)
    except ValidationError as error:
        rule, value, where = first_problem(error, data)
        raise InvalidExport(f"{path} is not an exported genome: {rule}", value, where) from None
    if export.digest != export.genome.digest:
        raise InvalidExport(f"the digest in {path} does not match its genome", export.digest[:12])
    return export
