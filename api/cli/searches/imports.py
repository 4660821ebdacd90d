"""Launching a search, with the trials of earlier ones or without; files are checked first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainformer.search.campaign.evaluated import EvaluatedSearch, read_evaluated
from brainformer.search.campaign.fitting import Campaign, carried_into
from brainformer.search.errors import InvalidInput
from brainformer.search.spec import SearchSpec

if TYPE_CHECKING:
    from brainformer.api.cli.terminal.controller_client import ControllerClient


def launched(
    client: ControllerClient, spec: SearchSpec, files: Sequence[Path], *, key: str
) -> tuple[dict[str, Any], Campaign | None]:
    """Creates a search; returns its record, and what it took in of earlier ones.

    Args:
        client: Of the controller.
        spec: Of the search.
        files: As `brainformer export SEARCH --format trials` writes them; none for a plain start.
        key: The same key never creates twice.

    Raises:
        InvalidInput: a file cannot be read, or what it holds does not fit the spec; nothing was
            sent.
    """
    if not files:
        body = spec.model_dump(mode="json")
        return client.post("/searches", body, Idempotency_Key=key), None
    lines, campaign = _lines_of(spec, files)
    return client.post_lines("/searches", lines, Idempotency_Key=key), campaign


def _lines_of(spec: SearchSpec, files: Sequence[Path]) -> tuple[bytes, Campaign]:
    """Returns the body that creates a search with what files hold, and what that is."""
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
