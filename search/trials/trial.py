"""Trials: kinds, statuses with their legal transitions, outcomes and measurements."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.proxy.mesh import MeshAxes

LARGEST = 1e30  # so that no sum, difference or square of measurements overflows
FiniteFloat = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
LARGEST_COUNT = 10**18  # a bound that a JSON schema writes exactly, within 64 bits
NonNegativeInt = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class TrialKind(StrEnum):
    """Why a trial is run."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"
    CONFIRMATION = "confirmation"
    CERTIFICATE = "certificate"
    PROMOTION = "promotion"


class TrialStatus(StrEnum):
    """Where a trial stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing can change it any more."""
        return not TRIAL_TRANSITIONS[self]


TRIAL_TRANSITIONS: dict[TrialStatus, frozenset[TrialStatus]] = {
    TrialStatus.QUEUED: frozenset({TrialStatus.RUNNING, TrialStatus.CANCELLED}),
    TrialStatus.RUNNING: frozenset(
        {
            TrialStatus.COMPLETED,
            TrialStatus.PRUNED,
            TrialStatus.FAILED,
            TrialStatus.CANCELLED,
            TrialStatus.QUEUED,  # an expired or preempted attempt; the next one follows
        }
    ),
    TrialStatus.COMPLETED: frozenset(),
    TrialStatus.PRUNED: frozenset(),
    TrialStatus.FAILED: frozenset(),
    TrialStatus.CANCELLED: frozenset(),
}
OPEN = (TrialStatus.QUEUED, TrialStatus.RUNNING)


class Outcome(StrEnum):
    """How one attempt ended; only infrastructure outcomes are retried."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    PREEMPTED = "preempted"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    INFEASIBLE = "infeasible"
    LEAKS_FUTURE = "leaks_future"
    ERROR = "error"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


TRAINING = 1  # keeps the stream of a trial's training apart from that of its proposal
REPEATS = 2  # and that of repeats apart from both

# Causes outside the genome: the trial is queued again until `max_attempts`.
INFRASTRUCTURE_OUTCOMES = frozenset(
    {Outcome.PREEMPTED, Outcome.TIMED_OUT, Outcome.ERROR, Outcome.EXPIRED}
)

OUTCOME_STATUS: dict[Outcome, TrialStatus] = {
    Outcome.COMPLETED: TrialStatus.COMPLETED,
    Outcome.PRUNED: TrialStatus.PRUNED,
    Outcome.PREEMPTED: TrialStatus.FAILED,
    Outcome.TIMED_OUT: TrialStatus.FAILED,
    Outcome.OUT_OF_MEMORY: TrialStatus.FAILED,
    Outcome.DIVERGED: TrialStatus.FAILED,
    # Too slow or too large is knowledge about the genome: pruned, fitness -1, in the population.
    Outcome.INFEASIBLE: TrialStatus.PRUNED,
    Outcome.LEAKS_FUTURE: TrialStatus.FAILED,
    Outcome.ERROR: TrialStatus.FAILED,
    Outcome.EXPIRED: TrialStatus.FAILED,
    Outcome.CANCELLED: TrialStatus.CANCELLED,
}


class CurvePoint(BaseModel):
    """One point of a learning curve; losses in nats a token, times in training seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fraction: Fraction
    step: NonNegativeInt
    training_seconds: NonNegativeFloat
    training_loss: FiniteFloat | None = None
    validation_loss: FiniteFloat | None = None
    drop_fraction: Fraction | None = None
    gradient_norm: NonNegativeFloat | None = None


class Measurements(BaseModel):
    """What one attempt measured. Losses in nats a token; null where it was not reached.

    Memory is that of one device, of the one that needs most; `remat` says whether blocks were
    computed again in the backward pass. `drop_fraction` and `expert_load` are of training's last
    batch; `evaluation_drop_fraction` and `evaluation_experts`, the experts that compute a token,
    are of the last validation; `routing_gap` is how many nats a token the causal rule of evaluation
    is worse than training's rule on the same tokens. `contention` is the real step time over the
    quiet machine's; `calibration_lost_steps` are those by which a step turned out faster than the
    calibration before training took it for: what a quiet machine would have done in the budget,
    less what was done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation_loss: FiniteFloat | None = None
    bits_per_byte: FiniteFloat | None = None
    step_time_ms: NonNegativeFloat | None = None
    step_time_spread_ms: NonNegativeFloat | None = None
    inference_time_ms: NonNegativeFloat | None = None
    steps: NonNegativeInt | None = None
    tokens: NonNegativeInt | None = None
    training_seconds: NonNegativeFloat | None = None
    elapsed_seconds: NonNegativeFloat | None = None
    occupied_seconds: NonNegativeFloat | None = None
    compile_seconds: NonNegativeFloat | None = None
    parameters: NonNegativeInt | None = None
    activated_parameters: NonNegativeInt | None = None
    peak_memory_bytes: NonNegativeInt | None = None
    estimated_memory_bytes: NonNegativeInt | None = None
    drop_fraction: Fraction | None = None
    evaluation_drop_fraction: Fraction | None = None
    evaluation_experts: NonNegativeFloat | None = None
    routing_gap: FiniteFloat | None = None
    expert_load: Annotated[tuple[FiniteFloat, ...], Field(max_length=4096)] | None = None
    gradient_norm: NonNegativeFloat | None = None
    utilisation: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    contention: NonNegativeFloat | None = None
    calibration_lost_steps: int | None = None
    clock: str | None = None
    platform: str | None = None
    device: str | None = None
    mesh: MeshAxes | None = None
    hosts: NonNegativeInt | None = None
    remat: bool | None = None
    curve: Annotated[tuple[CurvePoint, ...], Field(max_length=256)] = ()


CONTENDED = 2.0  # above it the machine was busy enough for figures to be looked at twice


def repeat_seed(search_seed: int, repeat: int) -> int:
    """Returns the seed of the n-th repeat of every genome of a search.

    Initial key and data order are the same for all, so that repeats compare in pairs.
    """
    words = np.random.SeedSequence([search_seed, repeat, REPEATS]).generate_state(1)
    return int(words[0]) & 0x7FFF_FFFF


def training_seed(search_seed: int, number: int) -> int:
    """Returns the seed that a trial trains with: fixed by the search's seed and its number."""
    words = np.random.SeedSequence([search_seed, number, TRAINING]).generate_state(1)
    return int(words[0]) & 0x7FFF_FFFF
