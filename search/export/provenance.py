"""Where an export comes from: enough to find the trial again, and to tell who could repeat it."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

DISTRIBUTION = "brainformer-search"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Provenance(BaseModel):
    """Where an export comes from.

    Attributes:
        origin: How the weights came about; None where an export has none.
        search_id: Of the search that found the block; None for a block that no search found.
        trial_number: Its trial in that search.
        scaled_from: Digest of the block that was measured, if this one is a scaled copy of it.
        dataset: Data set id that it was searched or trained on.
        dataset_hash: Of that data set's contents.
        tokenizer: `bytes`, `huggingface` or `sentencepiece`; None where an export has none.
        tokenizer_sha256: Of the tokenizer's file; "" for bytes.
        seed: Of the initial parameters.
        steps: Training steps behind the weights.
        tokens: Tokens that they were trained on.
        validation_loss: Of these weights, in nats a token.
        versions: Of Python and the packages that wrote the export.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: Literal["initialised", "trained"] | None = None
    search_id: str | None = None
    search_name: str | None = None
    trial_number: int | None = None
    scaled_from: Digest | None = None
    dataset: str | None = None
    dataset_hash: Digest | None = None
    tokenizer: Literal["bytes", "huggingface", "sentencepiece"] | None = None
    tokenizer_sha256: str = ""
    seed: int | None = None
    steps: Annotated[int, Field(ge=0)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    validation_loss: Annotated[float, Field(allow_inf_nan=False)] | None = None
    versions: dict[str, str] = {}


def versions_of(packages: Iterable[str] = ()) -> dict[str, str]:
    """Returns the versions of Python, of this project and of packages, where installed."""
    found = {"python": platform.python_version()}
    for package in (DISTRIBUTION, *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
