"""Files of evaluated trials that a new search begins with, checked before they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from brainformer.search.campaign.evaluated import EvaluatedSearch, read_evaluated
from brainformer.search.campaign.fitting import Campaign, carried_into
from brainformer.search.errors import InvalidInput
from brainformer.search.spec import SearchSpec


def lines_of(spec: SearchSpec, files: Sequence[Path]) -> tuple[bytes, Campaign]:
    """Returns the body that creates a search with what files hold, and what that is.

    Args:
        spec: Of the search.
        files: As `brainformer export SEARCH --format trials` writes them.

    Raises:
        InvalidInput: a file cannot be read, or what it holds does not fit the spec.
    """
    bodies = [_read(path) for path in files]
    searches: list[EvaluatedSearch] = []
    for path, body in zip(files, bodies, strict=True):
        searches += read_evaluated(body.split(b"\n"), name=path.name)
    campaign = carried_into(spec, searches)
    whole = [spec.model_dump_json().encode(), *(body.rstrip(b"\n") for body in bodies)]
    return b"\n".join(whole) + b"\n", campaign


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
