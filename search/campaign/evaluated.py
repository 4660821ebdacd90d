"""Files of evaluated trials: JSON lines, the search first, then its trials.

Several files may stand one after another, as several searches' trials are imported together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from brainformer.search.errors import InvalidInput
from brainformer.search.space.genome import Genome
from brainformer.search.spec import SearchSpec
from brainformer.search.trials.trial import Measurements, Outcome, TrialKind, TrialStatus
from brainformer.search.validation import first_problem

SCHEMA_VERSION = 1
MOST_TRIALS = 100_000
NUL = b"\\u0000"
Model = TypeVar("Model", bound=BaseModel)


class TrialsHeader(BaseModel):
    """The first line of a file of trials: under which conditions they were evaluated.

    Attributes:
        spec: Of their search, with the hash of the data that its workers used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: Literal["search"] = "search"
    schema_version: Literal[1] = 1
    id: str
    name: str
    spec: SearchSpec


class EvaluatedTrial(BaseModel):
    """One trial as another search has recorded it; fields that say where it ran are passed over.

    Attributes:
        number: In the search that it comes from.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int = Field(ge=0)
    kind: TrialKind
    status: TrialStatus
    pool: str | None = None
    genome: Genome
    origin: str = Field(default="", max_length=32)
    parent_number: int | None = None
    mutation: str = ""
    label: str = Field(default="", max_length=64)
    seed: int = Field(ge=0, lt=2**63)
    repeat: int | None = Field(default=None, ge=0)
    outcome: Outcome | None = None
    message: str = ""
    measurements: Measurements = Measurements()


class EvaluatedSearch(BaseModel):
    """A search's header and the trials that a file holds of it."""

    model_config = ConfigDict(frozen=True)

    header: TrialsHeader
    trials: tuple[EvaluatedTrial, ...]


def header_line(search_id: str, name: str, spec: SearchSpec) -> bytes:
    """Returns the first line of a file of trials."""
    header = TrialsHeader(id=search_id, name=name, spec=spec)
    return header.model_dump_json().encode() + b"\n"


def read_evaluated(lines: Iterable[bytes], *, name: str) -> list[EvaluatedSearch]:
    """Returns the searches in JSON lines, each with its trials.

    Args:
        lines: A header, its trials, and so on; empty lines are passed over.
        name: Of the file, for messages.

    Raises:
        InvalidInput: names the line, and what is wrong with it.
    """
    found: list[tuple[TrialsHeader, list[EvaluatedTrial]]] = []
    count = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        plain = _object(line, where)
        if plain.get("record") == "search":
            found.append((_header(plain, where), []))
            continue
        if not found:
            raise InvalidInput(
                f"{where} comes before any line that says which search the trials are of; export "
                "them with 'brainformer export SEARCH --format trials', or from "
                "trials.jsonl?header=true"
            )
        count += 1
        if count > MOST_TRIALS:
            raise InvalidInput(f"{name} holds more than {MOST_TRIALS} trials")
        found[-1][1].append(_read(EvaluatedTrial, plain, where))
    return [EvaluatedSearch(header=header, trials=tuple(trials)) for header, trials in found]


def _header(plain: dict[str, Any], where: str) -> TrialsHeader:
    version = plain.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InvalidInput(
            f"{where} has schema version {version}; this release reads {SCHEMA_VERSION}, so a "
            "newer one is needed"
        )
    return _read(TrialsHeader, plain, where)


def _object(line: bytes, where: str) -> dict[str, Any]:
    if NUL in line:
        raise InvalidInput(f"{where} holds a NUL character, which no database keeps")
    try:
        plain = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidInput(f"{where} is not JSON: {error}") from None
    if not isinstance(plain, dict):
        raise InvalidInput(f"{where} is not an object", type(plain).__name__)
    return plain


def _read(kind: type[Model], plain: dict[str, Any], where: str) -> Model:
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        rule, value, pointer = first_problem(error, plain)
        raise InvalidInput(f"{where}, {pointer}: {rule}", value) from None
