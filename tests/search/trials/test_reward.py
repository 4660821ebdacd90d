"""Fitness, hurdle, constraint and confidence, relative to the baseline."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.trials.reward import (
    Baseline,
    directive,
    fitness,
    infeasible,
    loss_at_hurdle,
    step_time_limit,
    summarise,
)
from brainformer.search.trials.trial import Measurements, Outcome
from tests.search.store.site import measured, point, spec

BASELINE = Baseline(
    repeats=3,
    validation_loss=3.0,
    step_time_ms=20.0,
    inference_time_ms=5.0,
    noise=0.01,
    step_time_noise_ms=0.5,
    hurdle_loss=4.0,
    hurdle_noise=0.05,
)
MARGIN = 6.9646 * math.sqrt(4 / 3)  # t(.99, 2) x sqrt(1 + 1/3): in deviations, of three repeats
STEP_LIMIT = 20 * 1.1 + MARGIN * 0.5
HURDLE_LIMIT = 4.0 + MARGIN * 0.05
losses = st.floats(0.1, 10.0)


def judge(fraction: float, loss: float | None, **more: Any) -> str:
    given_ = {"judged": False, "step_time_ms": None, "inference_time_ms": None} | more
    rules = spec(step_time_slack=0.1, inference_time_slack=0.0)
    return directive(rules, BASELINE, point(fraction, loss), **given_).action


def test_a_stop_says_by_its_outcome_why() -> None:
    def outcome(loss: float, step_time_ms: float) -> Outcome | None:
        rules, seen = spec(step_time_slack=0.1), point(0.25, loss)
        times = {"step_time_ms": step_time_ms, "inference_time_ms": None}
        return directive(rules, BASELINE, seen, **times).outcome

    assert outcome(9.0, 20.0) is Outcome.PRUNED
    assert outcome(9.0, 99.0) is Outcome.INFEASIBLE
    assert outcome(1.0, 20.0) is None


@given(losses)
def test_fitness_is_nats_better_than_the_baseline(loss: float) -> None:
    assert fitness(BASELINE, measured(loss)) == 3.0 - loss


def test_the_baseline_itself_has_fitness_zero() -> None:
    assert fitness(BASELINE, measured(3.0)) == 0.0


@given(losses, losses)
def test_a_lower_loss_is_never_less_fit(one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, second = fitness(BASELINE, measured(low)), fitness(BASELINE, measured(high))
    assert first is not None
    assert second is not None
    assert first >= second


def test_repeats_are_summarised_by_mean_and_sample_deviation() -> None:
    repeats = [measured(loss, step_time_ms=10 * loss) for loss in (2.0, 3.0, 4.0)]
    summary = summarise(repeats)
    assert summary.repeats == 3
    assert summary.validation_loss == pytest.approx(3.0)
    assert summary.noise == pytest.approx(1.0)
    assert (summary.step_time_ms, summary.step_time_noise_ms) == pytest.approx((30.0, 10.0))
    assert summary.hurdle_loss is None


def test_one_repeat_tells_nothing_of_the_noise() -> None:
    assert summarise([measured(2.0)]).noise is None


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([], None),
        ([(0.1, 5.0)], None),
        ([(0.25, 4.0)], 4.0),
        ([(0.2, 5.0), (0.3, 4.0)], 4.5),
        ([(0.3, 4.0), (0.2, 5.0)], 4.5),
        ([(0.0, 6.0), (0.2, 5.0), (0.3, 4.0), (1.0, 2.0)], 4.5),
        ([(0.3, 4.0), (1.0, 2.0)], 4.0),
        ([(1.0, 2.0)], None),  # the end of training would make the hurdle impossible
        ([(0.2, None), (0.3, 4.0)], 4.0),
    ],
)
def test_the_loss_at_the_hurdle_lies_between_the_points_around_it(
    curve: list[tuple[float, float | None]], expected: float | None
) -> None:
    found = loss_at_hurdle([point(*one) for one in curve])
    assert found == (None if expected is None else pytest.approx(expected))


def test_the_step_time_limit_allows_slack_and_the_noise_of_one_run() -> None:
    assert step_time_limit(spec(step_time_slack=0.1), BASELINE) == pytest.approx(
        20 * 1.1 + MARGIN * 0.5
    )
    assert step_time_limit(spec(step_time_slack=None), BASELINE) is None


@pytest.mark.parametrize(
    ("step", "inference", "broken"),
    [
        (STEP_LIMIT - 0.01, 5.0, ""),
        (STEP_LIMIT + 0.01, 5.0, "step time"),
        (20.0, 5.1, "inference time"),
        (None, None, ""),
    ],
)
def test_constraints_name_what_is_broken(
    step: float | None, inference: float | None, broken: str
) -> None:
    rules = spec(step_time_slack=0.1, inference_time_slack=0.0)
    reason = infeasible(rules, BASELINE, step_time_ms=step, inference_time_ms=inference)
    assert (broken in reason) if broken else reason == ""


@pytest.mark.parametrize(
    ("fraction", "loss", "more", "action"),
    [
        (0.24, 9.0, {"step_time_ms": 99.0}, "continue"),  # too early to judge
        (0.25, HURDLE_LIMIT - 0.01, {}, "continue"),
        (0.25, HURDLE_LIMIT + 0.01, {}, "stop"),
        (0.9, HURDLE_LIMIT + 0.01, {}, "stop"),
        (0.9, 9.0, {"judged": True}, "continue"),
        (0.25, None, {}, "continue"),
        (0.25, 1.0, {"step_time_ms": STEP_LIMIT + 0.01}, "stop"),
        (0.9, 1.0, {"step_time_ms": STEP_LIMIT + 0.01, "judged": True}, "stop"),
        (0.25, 1.0, {"inference_time_ms": 5.1}, "stop"),
    ],
)
def test_a_report_is_answered_by_rule(
    fraction: float, loss: float | None, more: dict[str, Any], action: str
) -> None:
    assert judge(fraction, loss, **more) == action


def test_without_noise_known_the_hurdle_prunes_nobody() -> None:
    single = replace(BASELINE, repeats=1, hurdle_noise=None)
    report = {"judged": False, "step_time_ms": None, "inference_time_ms": None}
    assert directive(spec(), single, point(0.3, 99.0), **report).action == "continue"


@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_blocks_equal_to_the_baseline_are_seldom_pruned(repeats: int) -> None:
    rng = np.random.default_rng(repeats)
    pruned = 0
    for _ in range(3000):
        losses = rng.normal(4.0, 0.05, repeats + 1)
        first = [Measurements(curve=(point(0.25, loss),)) for loss in losses[:repeats]]
        report = {"judged": False, "step_time_ms": None, "inference_time_ms": None}
        told = directive(spec(), summarise(first), point(0.25, losses[repeats]), **report)
        pruned += told.action == "stop"
    assert pruned / 3000 <= 0.02


def test_the_sums_of_the_largest_measurements_are_finite() -> None:
    summary = summarise([Measurements(validation_loss=sign * 1e30) for sign in (1, -1, 1)])
    assert summary.noise is not None
    assert math.isfinite(summary.noise)
    assert math.isfinite(fitness(summary, measured(-1e30)) or 0.0)
