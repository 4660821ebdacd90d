"""Rows of the tables as the frozen records that the rest of the system sees."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from search.genome import LAYER_KINDS, Genome, Layer
from search.records import BaselineSummary, SearchRecord, TrialRecord
from search.spec import SearchSpec, SearchStatus
from search.trial import CurvePoint, Measurements, TrialStatus

ENDED = frozenset(
    {
        SearchStatus.COMPLETED.value,
        SearchStatus.STOPPED.value,
        SearchStatus.CANCELLED.value,
        SearchStatus.FAILED.value,
    }
)
NO_MEASUREMENTS = Measurements()
CURVE = ',"curve":['


def when(seconds: float | None) -> datetime | None:
    """Returns a time as people's software reads it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def at(seconds: float) -> datetime:
    """Returns a time that is there."""
    return datetime.fromtimestamp(seconds, UTC)


@lru_cache(maxsize=256)
def read_spec(text: str) -> SearchSpec:
    """Returns the spec; kept, since every claim needs it."""
    return SearchSpec.model_validate_json(text)


@lru_cache(maxsize=8192)
def read_genome(text: str) -> Genome:
    """Returns the genome of a canonical JSON; kept, since listings show the same ones again.

    Genomes of a search are many, their sub-layers few: only those are validated.
    """
    plain = from_json(text)
    layers = tuple(read_layer(layer.pop("kind"), tuple(layer.items())) for layer in plain["layers"])
    return Genome.model_construct(**(plain | {"layers": layers}))


@lru_cache(maxsize=8192)
def read_layer(kind: str, fields: tuple[tuple[str, Any], ...]) -> Layer:
    """Returns the sub-layer of these fields; kept, since a search has few different ones."""
    return LAYER_KINDS[kind].model_validate(dict(fields))


def read_measurements(text: str | None, points: str | None = None) -> Measurements:
    """Returns what was measured; while the trial runs, the points it has reported."""
    measured = NO_MEASUREMENTS if text is None else Measurements.model_validate_json(text)
    if points is None or measured.curve:
        return measured
    curve = tuple(CurvePoint.model_validate(point) for point in json.loads(points))
    return measured.model_copy(update={"curve": curve})


def lean_measurements(text: str | None) -> Measurements:
    """Returns what was measured without curve and expert loads, which make listings heavy."""
    return NO_MEASUREMENTS if text is None else Measurements.model_validate(lean_values(text))


def lean_values(text: str | None) -> dict[str, Any]:
    """Returns the values of a stored measurement without curve and expert loads.

    The curve is the last field and most of the text: it is cut off before the rest is parsed.
    Quotes within strings are escaped, so nothing else can look like its beginning.
    """
    if text is None:
        return {}
    head, cut, _ = text.partition(CURVE)
    values: dict[str, Any] = from_json(f"{head}}}" if cut else text)
    values.pop("curve", None)
    values.pop("expert_load", None)
    return values


def baseline_summary(row: Any) -> BaselineSummary:
    """Returns the baseline's figures on one pool."""
    return BaselineSummary(
        pool=row.pool,
        repeats=row.repeats,
        needed=row.needed,
        validation_loss=row.validation_loss,
        bits_per_byte=row.bits_per_byte,
        step_time_ms=row.step_time_ms,
        inference_time_ms=row.inference_time_ms,
        noise=row.noise,
        step_time_noise_ms=row.step_time_noise_ms,
        hurdle_loss=row.hurdle_loss,
        failure=row.failure,
    )


def search_record(row: Any, baseline: BaselineSummary | None) -> SearchRecord:
    """Returns the search and where it stands."""
    spec = read_spec(row.spec)
    if row.dataset_hash and spec.proxy.dataset_hash is None:
        proxy = spec.proxy.model_copy(update={"dataset_hash": row.dataset_hash})
        spec = spec.model_copy(update={"proxy": proxy})
    return SearchRecord(
        id=row.id,
        name=row.name,
        status=SearchStatus(row.status),
        reason=row.reason,
        spec=spec,
        version=row.version,
        created_at=at(row.created_at),
        updated_at=at(row.updated_at),
        finished_at=when(row.finished_at),
        counts={status: getattr(row, status.value) for status in TrialStatus},
        candidates_finished=row.candidates_finished,
        candidates_proposed=row.candidates_proposed,
        baseline=baseline,
        best_trial_number=row.best_number,
        best_fitness=row.best_fitness,
    )


def trial_record(row: Any, youngest_outside: int, *, lean: bool = False) -> TrialRecord:
    """Returns one trial.

    Args:
        row: Of the table `trials`.
        youngest_outside: Ranks above it are in the population.
        lean: Whether to leave out learning curve and expert loads.
    """
    kept = row.measurements
    return TrialRecord(
        **plain_columns(row, youngest_outside),
        genome=read_genome(row.genome),
        measurements=lean_measurements(kept) if lean else read_measurements(kept, row.points),
    )


def plain_columns(row: Any, youngest_outside: int) -> dict[str, Any]:
    """Returns a trial's fields but for genome and measurements, as `trial_record` takes them."""
    rank = row.finished_rank
    return {
        "id": row.id,
        "search_id": row.search_id,
        "number": row.number,
        "seq": row.seq,
        "kind": row.kind,
        "status": row.status,
        "pool": row.pool,
        "digest": row.digest,
        "origin": row.origin,
        "parent_number": row.parent_number,
        "mutation": row.mutation,
        "attempt": row.attempt,
        "seed": row.seed,
        "outcome": row.outcome,
        "message": row.message,
        "fitness": row.fitness,
        "in_population": rank is not None and rank > youngest_outside,
        "worker_id": row.worker_id,
        "parameters": row.parameters,
        "activated_parameters": row.activated_parameters,
        "created_at": at(row.created_at),
        "started_at": when(row.started_at),
        "finished_at": when(row.finished_at),
        "lease_expires_at": when(row.lease_expires_at),
    }


def youngest_outside(search: Any) -> int:
    """Returns the rank of completion up to which trials have left the population."""
    size: int = read_spec(search.spec).population_size
    return int(search.candidates_finished) - 1 - size
