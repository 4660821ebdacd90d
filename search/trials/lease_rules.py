"""What the end of an attempt means for its trial: pure rules, no storage.

Execution is at least once: an attempt that ends for a cause outside the genome is followed by
another. Recording is exactly once: `search/sql` commits what stands here by compare-and-set.
"""

from __future__ import annotations

from dataclasses import dataclass

from brainformer.search.errors import InvalidMeasurement
from brainformer.search.spec import SearchSpec
from brainformer.search.trials.lease_messages import Result
from brainformer.search.trials.reward import (
    PRUNED_FITNESS,
    Baseline,
    fitness,
    infeasible,
)
from brainformer.search.trials.trial import (
    INFRASTRUCTURE_OUTCOMES,
    OUTCOME_STATUS,
    Measurements,
    Outcome,
    TrialKind,
    TrialStatus,
)

# Only the controller cancels. A worker that says so has merely stopped, and another goes on.
RETRIED = INFRASTRUCTURE_OUTCOMES | {Outcome.CANCELLED}


@dataclass(frozen=True)
class Settlement:
    """What is recorded of a trial when an attempt has ended."""

    status: TrialStatus
    outcome: Outcome
    fitness: float | None = None
    message: str = ""


def check_result(result: Result) -> None:
    """Refuses a completed result without a loss.

    Raises:
        InvalidMeasurement: there is no finite validation loss.
    """
    if result.outcome is Outcome.COMPLETED and result.measurements.validation_loss is None:
        raise InvalidMeasurement(
            "a completed trial needs a finite validation loss",
            pointer="/measurements/validation_loss",
        )


def settle(
    spec: SearchSpec,
    baseline: Baseline | None,
    kind: TrialKind,
    *,
    outcome: Outcome,
    measured: Measurements,
    message: str,
    tries: int,
    stopping: bool = False,
) -> Settlement:
    """Returns what becomes of the trial.

    Args:
        spec: Of the search.
        baseline: Of the trial's pool; None while it is not complete.
        kind: Only candidates are judged by constraint and hurdle.
        outcome: How the attempt ended.
        measured: What it measured.
        message: One sentence of the worker's.
        tries: Attempts so far, this one too; those handed back unstarted, or that ran in a
            backup when it was restored, do not count.
        stopping: Whether the search lets the running trials end and starts none.
    """
    if outcome in RETRIED:
        again = TrialStatus.CANCELLED if stopping else TrialStatus.QUEUED
        status = again if tries < spec.max_attempts else TrialStatus.FAILED
        return Settlement(status, outcome, None, message)
    if kind is TrialKind.CANDIDATE:
        return _candidate(spec, baseline, outcome, measured, message)
    if outcome in {Outcome.PRUNED, Outcome.INFEASIBLE}:
        # Only candidates are judged; a baseline or a confirmation that stops early has failed.
        return Settlement(TrialStatus.FAILED, outcome, None, message)
    gained = fitness(baseline, measured) if baseline and kind is not TrialKind.BASELINE else None
    return Settlement(OUTCOME_STATUS[outcome], outcome, gained, message)


def _candidate(
    spec: SearchSpec,
    baseline: Baseline | None,
    outcome: Outcome,
    measured: Measurements,
    message: str,
) -> Settlement:
    status = OUTCOME_STATUS[outcome]
    if status is TrialStatus.PRUNED:
        return Settlement(status, outcome, PRUNED_FITNESS, message)
    if status is not TrialStatus.COMPLETED or baseline is None:
        return Settlement(status, outcome, None, message)
    reason = infeasible(
        spec,
        baseline,
        step_time_ms=measured.step_time_ms,
        inference_time_ms=measured.inference_time_ms,
    )
    if reason:
        return Settlement(TrialStatus.PRUNED, Outcome.INFEASIBLE, PRUNED_FITNESS, reason)
    return Settlement(status, outcome, fitness(baseline, measured), message)
