"""Frozen snapshots of what the store holds, as REST, the dashboard and the CLI see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from brainformer.search.estimates.verdict import Verdict
from brainformer.search.space.genome import Genome
from brainformer.search.spec import SearchSpec
from brainformer.search.status import SearchStatus
from brainformer.search.studies.certificate import CertificateRequest
from brainformer.search.studies.certificate_result import CertificateResult
from brainformer.search.studies.plan import StudyKind
from brainformer.search.studies.promotion import PromotionRequest
from brainformer.search.studies.promotion_result import PromotionResult
from brainformer.search.trials.trial import (
    Measurements,
    Outcome,
    TrialKind,
    TrialStatus,
)


class Record(BaseModel):
    """Base of the snapshots."""

    model_config = ConfigDict(frozen=True)


R = TypeVar("R")  # not bound: what is listed was validated when it was made


class SearchRecord(Record):
    """A search and where it stands. `version` rises with every change (ETag).

    `best_fitness` is the mean of the best block's `best_repeats` fresh runs; where that is 0, it is
    the single run that looks best so far, which flatters.
    """

    id: str
    name: str
    status: SearchStatus
    reason: str = ""
    spec: SearchSpec
    version: int
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    counts: dict[TrialStatus, int]
    candidates_finished: int
    candidates_proposed: int
    baseline: BaselineSummary | None = None
    best_trial_number: int | None = None
    best_fitness: float | None = None
    best_deviation: float | None = None
    best_repeats: int = 0
    kind: StudyKind = StudyKind.SEARCH
    parent_id: str | None = None


class CertificateRecord(Record):
    """A certificate of a search's proxy: the study that runs it, and what it shows so far."""

    study: SearchRecord
    pool: str
    request: CertificateRequest
    result: CertificateResult


class PromotionRecord(Record):
    """A promotion of a search's best blocks: the study that runs it, and what it shows so far.

    Attributes:
        planned_seconds: Training seconds of all its runs together.
        waiting: Why nothing starts, where its pool has had no worker for an hour.
    """

    study: SearchRecord
    pool: str
    request: PromotionRequest
    planned_seconds: float
    waiting: str = ""
    result: PromotionResult


class BaselineSummary(Record):
    """The baseline on one pool. Losses in nats a token; `noise` is their standard deviation.

    `failure` says why the pool takes no part: its baseline cannot run there. `rival` is the block
    that was run: the best member of the baseline's family on this pool, once that is known.
    """

    pool: str
    repeats: int
    needed: int
    validation_loss: float | None = None
    bits_per_byte: float | None = None
    step_time_ms: float | None = None
    inference_time_ms: float | None = None
    noise: float | None = None
    step_time_noise_ms: float | None = None
    hurdle_loss: float | None = None
    failure: str = ""
    rival: Genome | None = None


class TrialRecord(Record):
    """One trial of one search. `seq` rises with every change of any trial of the search.

    Leaving the population by age does not count as a change: `in_population` holds when read.
    """

    id: int
    search_id: str
    number: int
    seq: int
    kind: TrialKind
    status: TrialStatus
    pool: str | None = None
    genome: Genome
    digest: str
    origin: str = ""
    parent_number: int | None = None
    mutation: str = ""
    attempt: int = 0
    seed: int
    repeat: int | None = None
    label: str = ""
    imported: bool = False
    outcome: Outcome | None = None
    message: str = ""
    fitness: float | None = None
    in_population: bool = False
    measurements: Measurements = Measurements()
    worker_id: str | None = None
    parameters: int
    activated_parameters: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    lease_expires_at: datetime | None = None


class AttemptRecord(Record):
    """One attempt of a trial, kept for audit: late and superseded results included."""

    trial_id: int
    attempt: int
    worker_id: str
    pool: str
    outcome: Outcome | None = None
    accepted: bool = False
    message: str = ""
    traceback: str = ""
    started_at: datetime
    finished_at: datetime | None = None


class FinalistRecord(Record):
    """A finalist and what its fresh runs showed.

    Attributes:
        number: The trial that made it a finalist, which these figures leave out.
        runs: Fresh runs, those that diverged among them.
        mean_fitness: Over the fresh runs that did not diverge, in nats a token.
        deviation: Their sample standard deviation.
        confidence: One minus the p-value of "no better than the baseline", corrected for the
            choice among finalists; None with too few runs.
        dropped: Whether it is worse than the leader at an error of 5%.
    """

    number: int
    pool: str
    runs: int
    diverged: int = 0
    mean_fitness: float | None = None
    deviation: float | None = None
    confidence: float | None = None
    dropped: bool = False


class BestRecord(Record):
    """The best trial, and what fresh runs say of it beside the baseline.

    The trial itself was chosen because its run came out well, so that run never counts.

    Attributes:
        confirmed: Whether it was run again with fresh seeds.
        repeats: Fresh runs of it.
        baseline_repeats: Fresh runs of the baseline on its pool.
        mean_fitness: Over the fresh runs, in nats a token; None without any.
        deviation: Their sample standard deviation.
        interval: Of the gain over the baseline, two-sided 95%; None with too few runs.
        confidence: One minus the p-value of "no better than the baseline", corrected for the
            choice among finalists; None with too few runs.
        verdict: The same in a word.
        finalists: All that were run again, the best first.
    """

    trial: TrialRecord
    baseline: BaselineSummary | None = None
    confirmed: bool = False
    repeats: int = 0
    baseline_repeats: int = 0
    diverged: int = 0
    mean_fitness: float | None = None
    deviation: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    verdict: Verdict = Verdict.NOT_CONFIRMED
    finalists: tuple[FinalistRecord, ...] = ()


class EventRecord(Record):
    """Something that happened. `seq` is the event stream's id and rises without end.

    `kind` is an `EventKind`; a newer controller of the same database may have written others.
    """

    seq: int
    search_id: str | None
    kind: str
    at: datetime
    data: dict[str, Any]


class WorkerRecord(Record):
    """A worker that has claimed leases."""

    worker_id: str
    pool: str
    first_seen: datetime
    last_seen: datetime
    running: int
    finished: int


class PoolRecord(Record):
    """A kind of hardware and who works on it."""

    pool: str
    workers: int
    running: int
    last_seen: datetime | None = None
    drained_at: datetime | None = None
    retired_at: datetime | None = None


class PoolSearch(Record):
    """An open search that may use a pool.

    `waiting` counts queued trials that no other pool may run, such as repeats of the baseline;
    `blocked` says why no candidate starts here, and is empty where they do.
    """

    search_id: str
    name: str
    status: str
    running: int
    waiting: int
    blocked: str = ""


class PoolDetail(Record):
    """A pool looked at closely.

    `outcomes` counts how its share of the latest 2,000 attempts ended; devices, step time (median)
    and utilisation (mean) are those of its latest 50 completed trials.
    """

    pool: str
    workers: int
    running: int
    last_seen: datetime | None
    drained_at: datetime | None
    retired_at: datetime | None
    devices: tuple[str, ...]
    attempts_last_hour: int
    outcomes: dict[str, int]
    step_time_ms: float | None
    utilisation: float | None
    searches: tuple[PoolSearch, ...]


class LeftSearch(Record):
    """What became of one open search when a pool was retired.

    `put_back` counts candidates that ran there and wait for another pool now, `given_up` trials
    that no other pool can make up for, and `moved` confirmations whose blocks are run again on pool
    `to`, beside that pool's rival. `status` and `reason` are those of the search afterwards.
    """

    search_id: str
    name: str
    kind: StudyKind
    status: SearchStatus
    reason: str
    put_back: int = 0
    given_up: int = 0
    moved: int = 0
    to: str | None = None


class PoolRetirement(Record):
    """A pool that was retired, and what that did to each open search that used it."""

    pool: PoolDetail
    searches: tuple[LeftSearch, ...]


class TokenRecord(Record):
    """A token without its secret; `prefix` is its first characters."""

    id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class AuditRecord(Record):
    """Who did what, and when."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    request_id: str = ""


class Page(Record, Generic[R]):
    """One page of a listing; `next_cursor` is None at the end."""

    items: tuple[R, ...]
    next_cursor: str | None = None


SearchRecord.model_rebuild()
CertificateRecord.model_rebuild()
PromotionRecord.model_rebuild()
