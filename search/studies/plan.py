"""What a study runs: every trial with its block, its proxy and its repeat, known before it starts.

A study is kept as a search without proposals: it is claimed, paused, resumed and cancelled like
one, and each of its trials is leased, retried and resumed like any other.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.proxy.proxy import Name, Proxy
from brainformer.search.space.genome import Genome


class StudyKind(StrEnum):
    """What a row of the table of searches is."""

    SEARCH = "search"
    CERTIFICATE = "certificate"
    PROMOTION = "promotion"


class PlannedRun(BaseModel):
    """One trial of a study.

    Attributes:
        label: What tells it from the study's other runs, for people.
        parent: Number of the trial of the parent search that the block comes from.
        repeat: Which repeat of its block this is; it gives the seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    genome: Genome
    proxy: Proxy
    repeat: Annotated[int, Field(ge=0)]
    label: Annotated[str, Field(max_length=64)]
    parent: int | None = None
    pool: Name
