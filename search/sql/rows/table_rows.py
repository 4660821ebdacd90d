"""Rows of the tables, as type checkers see them: frozen, every column with its type.

A row is what the database's driver gives, read as one of these by `Transaction.all`, `first` and
`one`: nothing is copied. Names and order are those of `connection/tables.py`, and a test holds them
to it.
"""

from __future__ import annotations

from typing import NamedTuple


class SearchRow(NamedTuple):
    """A row of `searches`: a search with its counters."""

    id: str
    ordinal: int
    name: str
    status: str
    reason: str
    spec: str
    spec_hash: str
    idempotency_key: str | None
    dataset_hash: str | None
    version: int
    created_at: float
    updated_at: float
    finished_at: float | None
    next_number: int
    trial_seq: int
    queued: int
    running: int
    completed: int
    pruned: int
    failed: int
    cancelled: int
    candidates_proposed: int
    candidates_finished: int
    candidates_open: int
    exhausted: bool
    confirming: bool
    best_number: int | None
    best_fitness: float | None
    best_deviation: float | None
    best_repeats: int
    kind: str
    parent_id: str | None
    plan: str | None


class NoteRow(NamedTuple):
    """A row of `search_notes`: what people keep on a search."""

    search_id: str
    note: str
    archived_at: float | None


class SessionRow(NamedTuple):
    """A row of `sessions`: what a browser holds instead of a token."""

    secret_hash: str
    token_id: int
    created_at: float
    expires_at: float


class BaselineRow(NamedTuple):
    """A row of `baselines`: what the baseline's repeats on one pool showed."""

    search_id: str
    pool: str
    needed: int
    repeats: int
    failure: str
    validation_loss: float | None
    bits_per_byte: float | None
    step_time_ms: float | None
    inference_time_ms: float | None
    noise: float | None
    step_time_noise_ms: float | None
    hurdle_loss: float | None
    hurdle_noise: float | None
    rival: str | None
    rival_proxy: str | None


class TrialRow(NamedTuple):
    """A row of `trials`: genome and measurements as JSON text, kind and status as words."""

    id: int
    search_id: str
    number: int
    seq: int
    kind: str
    status: str
    pool: str | None
    genome: str
    digest: str
    origin: str
    parent_number: int | None
    mutation: str
    attempt: int
    tries: int
    seed: int
    outcome: str | None
    message: str
    fitness: float | None
    finished_rank: int | None
    on_front: bool
    measurements: str | None
    points: str | None
    step_time_ms: float | None
    parameters: int
    activated_parameters: int
    worker_id: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    lease_seconds: float
    lease_expires_at: float | None
    repeat: int | None
    proxy: str | None
    label: str
    imported: bool
    lease_key: str


class AttemptRow(NamedTuple):
    """A row of `attempts`: one attempt of a trial, or a report of it that was refused."""

    id: int
    trial_id: int
    attempt: int
    worker_id: str
    pool: str
    outcome: str | None
    accepted: bool
    message: str
    traceback: str
    report_hash: str | None
    receipt_status: str | None
    receipt_fitness: float | None
    started_at: float
    finished_at: float | None
    lease_key: str


class EventRow(NamedTuple):
    """A row of `events`: something that happened, its data as JSON text."""

    seq: int
    search_id: str | None
    kind: str
    at: float
    data: str


class EpochRow(NamedTuple):
    """A row of `epochs`: when history began again, and why."""

    epoch: int
    at: float
    reason: str


class WorkerRow(NamedTuple):
    """A row of `workers`: a worker that has claimed leases."""

    worker_id: str
    pool: str
    first_seen: float
    last_seen: float
    finished: int


class TokenRow(NamedTuple):
    """A row of `tokens`: a token, its secret as a hash."""

    id: int
    name: str
    prefix: str
    secret_hash: str
    scopes: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None


class AuditRow(NamedTuple):
    """A row of `audit`: who did what."""

    id: int
    at: float
    actor: str
    action: str
    target: str
    request_id: str
