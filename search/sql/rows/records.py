"""Rows of the tables as the frozen records that the rest of the system sees."""

from __future__ import annotations

from brainformer.search.sql.rows.table_rows import BaselineRow, SearchRow, TrialRow
from brainformer.search.sql.rows.values import (
    at,
    lean_measurements,
    read_genome,
    read_measurements,
    read_spec,
    when,
)
from brainformer.search.status import SearchStatus
from brainformer.search.store.records import BaselineSummary, SearchRecord, TrialRecord
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.trial import TrialStatus


def baseline_summary(row: BaselineRow) -> BaselineSummary:
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
        rival=None if row.rival is None else read_genome(row.rival),
    )


def search_record(row: SearchRow, baseline: BaselineSummary | None) -> SearchRecord:
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
        best_deviation=row.best_deviation,
        best_repeats=row.best_repeats,
        kind=StudyKind(row.kind),
        parent_id=row.parent_id,
    )


def trial_record(row: TrialRow, youngest_outside: int, *, lean: bool = False) -> TrialRecord:
    """Returns one trial.

    Args:
        row: Of the table `trials`.
        youngest_outside: Ranks above it are in the population.
        lean: Whether to leave out learning curve and expert loads.
    """
    kept = row.measurements
    measured = lean_measurements(kept) if lean else read_measurements(kept, row.points)
    read = {"genome": read_genome(row.genome), "measurements": measured}
    return TrialRecord.model_validate(plain_columns(row, youngest_outside) | read)


def plain_columns(row: TrialRow, youngest_outside: int) -> dict[str, object]:
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
        "repeat": row.repeat,
        "label": row.label,
        "imported": row.imported,
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


def youngest_outside(search: SearchRow) -> int:
    """Returns the rank of completion up to which trials have left the population."""
    return search.candidates_finished - 1 - read_spec(search.spec).population_size
