"""What controller and worker say to each other: leases, progress, directives, results."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.proxy.proxy import Name, Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.trials.trial import (
    CurvePoint,
    Measurements,
    NonNegativeFloat,
    Outcome,
    TrialKind,
)

DatasetHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
WorkerId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class Message(BaseModel):
    """Base of the wire messages: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(Message):
    """Base of what the controller answers to reports: a newer one may say more than is known."""

    model_config = ConfigDict(extra="ignore")


class ClaimRequest(Message):
    """A worker asks for up to `count` leases and waits up to `wait_seconds` for the first."""

    worker_id: WorkerId
    pool: Name
    count: Annotated[int, Field(ge=1, le=256)] = 1
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 0
    datasets: (
        Annotated[
            dict[Name, DatasetHash],
            # The schema would tell what such names hold, and allow any others.
            Field(max_length=1000, json_schema_extra={"additionalProperties": False}),
        ]
        | None
    ) = None


class Lease(Message):
    """The right of one attempt to run one trial until `expires_at` (the database's clock).

    `lease_id` is a `LeaseId` in text. Progress and heartbeats extend it by `lease_seconds`.
    """

    lease_id: str
    search_id: str
    search_name: str
    trial_id: int
    trial_number: int
    attempt: int
    kind: TrialKind
    pool: Name
    genome: Genome
    proxy: Proxy
    seed: int
    expires_at: datetime
    lease_seconds: float
    inference_time: bool = False


class ClaimResponse(Message):
    """The leases granted; empty when nothing turned up in time."""

    leases: tuple[Lease, ...] = ()


class Progress(Message):
    """A heartbeat, with a point of the learning curve where there is a new one."""

    point: CurvePoint | None = None
    step_time_ms: NonNegativeFloat | None = None
    inference_time_ms: NonNegativeFloat | None = None
    phase: Annotated[str, Field(max_length=32)] | None = None


class Directive(Answer):
    """The controller's answer to every progress report; the worker obeys.

    `outcome` is that of an attempt which is stopped; pruned where it is left out.
    """

    action: Literal["continue", "stop"]
    reason: str = ""
    outcome: Annotated[Outcome | None, Field(exclude_if=lambda outcome: outcome is None)] = None

    @classmethod
    def stop(cls, outcome: Outcome, reason: str) -> Directive:
        """Returns the directive that ends an attempt."""
        return cls(action="stop", outcome=outcome, reason=reason)

    @property
    def stopped_as(self) -> Outcome:
        """The outcome of an attempt that obeys a stop."""
        return self.outcome or Outcome.PRUNED


GO_ON = Directive(action="continue")


class Result(Message):
    """How an attempt ended. `message` is one sentence; `traceback` only for errors."""

    outcome: Outcome
    measurements: Measurements = Measurements()
    message: Annotated[str, Field(max_length=2_000)] = ""
    traceback: Annotated[str, Field(max_length=50_000)] = ""


class Receipt(Answer):
    """What the controller recorded."""

    trial_id: int
    attempt: int
    status: str
    fitness: float | None = None
    duplicate: bool = False
