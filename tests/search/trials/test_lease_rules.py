"""What the end of an attempt means: pure rules."""

from __future__ import annotations

import pytest

from brainformer.search.errors import InvalidMeasurement
from brainformer.search.trials.lease_messages import Result
from brainformer.search.trials.lease_rules import (
    RETRIED,
    check_result,
    settle,
)
from brainformer.search.trials.reward import Baseline
from brainformer.search.trials.trial import (
    INFRASTRUCTURE_OUTCOMES,
    OUTCOME_STATUS,
    TRIAL_TRANSITIONS,
    Measurements,
    Outcome,
    TrialKind,
    TrialStatus,
)
from tests.search.store.site import completed, measured, spec

BASELINE = Baseline(repeats=1, validation_loss=3.0, step_time_ms=20.0)
KINDS = list(TrialKind)


def end(
    kind: TrialKind, outcome: Outcome, *, tries: int = 1, stopping: bool = False
) -> TrialStatus:
    return settle(
        spec(max_attempts=3),
        BASELINE,
        kind,
        outcome=outcome,
        measured=measured(2.0),
        message="",
        tries=tries,
        stopping=stopping,
    ).status


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("stopping", [False, True])
def test_every_end_is_a_legal_transition(kind: TrialKind, outcome: Outcome, stopping: bool) -> None:
    for tries in (1, 3):
        status = end(kind, outcome, tries=tries, stopping=stopping)
        assert status in TRIAL_TRANSITIONS[TrialStatus.RUNNING]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outcome", sorted(RETRIED))
def test_infrastructure_is_retried_within_bounds_and_not_while_stopping(
    kind: TrialKind, outcome: Outcome
) -> None:
    assert end(kind, outcome, tries=2) is TrialStatus.QUEUED
    assert end(kind, outcome, tries=3) is TrialStatus.FAILED
    assert end(kind, outcome, tries=2, stopping=True) is TrialStatus.CANCELLED


def test_every_outcome_is_either_retried_or_has_a_status() -> None:
    assert set(OUTCOME_STATUS) == set(Outcome)
    assert INFRASTRUCTURE_OUTCOMES < RETRIED
    assert not TRIAL_TRANSITIONS[TrialStatus.COMPLETED]


@pytest.mark.parametrize("kind", [TrialKind.BASELINE, TrialKind.CONFIRMATION, TrialKind.PROMOTION])
@pytest.mark.parametrize("outcome", [Outcome.PRUNED, Outcome.INFEASIBLE])
def test_only_candidates_are_pruned(kind: TrialKind, outcome: Outcome) -> None:
    assert end(kind, outcome) is TrialStatus.FAILED
    assert end(TrialKind.CANDIDATE, outcome) is TrialStatus.PRUNED


def test_a_candidate_that_completed_too_slowly_is_pruned_with_the_reason() -> None:
    settled = settle(
        spec(step_time_slack=0.0),
        BASELINE,
        TrialKind.CANDIDATE,
        outcome=Outcome.COMPLETED,
        measured=measured(1.0, step_time_ms=21.0),
        message="",
        tries=1,
    )
    assert (settled.status, settled.outcome) == (TrialStatus.PRUNED, Outcome.INFEASIBLE)
    assert settled.fitness == -1
    assert "step time" in settled.message


def test_a_confirmation_has_fitness_and_a_baseline_has_none() -> None:
    def gained(kind: TrialKind) -> float | None:
        return settle(
            spec(),
            BASELINE,
            kind,
            outcome=Outcome.COMPLETED,
            measured=measured(2.0, step_time_ms=99.0),
            message="",
            tries=1,
        ).fitness

    assert gained(TrialKind.CONFIRMATION) == pytest.approx(1.0)
    assert gained(TrialKind.BASELINE) is None


def test_only_completed_needs_a_loss() -> None:
    check_result(completed(2.0))
    check_result(Result(outcome=Outcome.DIVERGED))
    with pytest.raises(InvalidMeasurement):
        check_result(Result(outcome=Outcome.COMPLETED, measurements=Measurements()))
