"""Effective speedup: exact cases, what lies beyond the ladder, and how often intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speedup_coverage import CURVES, RUNGS, WANTED, coverage
from brainformer.search.estimates.speedup import Speedup, effective_speedup, trend

BUDGET = 100.0
TINY = 1e-6


def line(multiple: float) -> float:
    """The rival's loss, falling by 0.1 a doubling."""
    return 2.0 - 0.1 * math.log2(multiple)


def ladder(*rungs: float, by: float = TINY) -> dict[float, list[float | None]]:
    return {BUDGET * rung: [line(rung) - by, line(rung) + by] for rung in rungs}


def of(speedup: float, by: float = TINY) -> list[float | None]:
    return [line(speedup) - by, line(speedup), line(speedup) + by]


@given(st.floats(0.26, 3.9))
def test_a_straight_ladder_without_noise_gives_the_speedup_itself(truth: float) -> None:
    found = effective_speedup(of(truth), ladder(*RUNGS), BUDGET)
    assert found is not None
    assert found.value == pytest.approx(truth, rel=1e-3)
    assert found.low is None or found.low == pytest.approx(truth, rel=5e-3)
    assert found.high is None or found.high == pytest.approx(truth, rel=5e-3)


@pytest.mark.parametrize("rungs", [(0.5, 2.0), (0.5, 1.0, 3.0), (4.0, 0.25, 1.0, 0.5)])
def test_a_ladder_has_two_rungs_or_more_in_any_order(rungs: tuple[float, ...]) -> None:
    found = effective_speedup(of(1.2), ladder(*rungs), BUDGET)
    assert found is not None
    assert found.value == pytest.approx(1.2, rel=1e-3)


def test_a_block_beyond_the_ladder_has_a_bound_and_no_value() -> None:
    better = effective_speedup(of(9.0), ladder(*RUNGS), BUDGET)
    assert better == Speedup(None, pytest.approx(4.0), None, None)
    worse = effective_speedup(of(0.1), ladder(*RUNGS), BUDGET)
    assert worse == Speedup(None, None, pytest.approx(0.25), None)


def test_noise_widens_the_interval_and_may_open_it() -> None:
    narrow = effective_speedup(of(1.0, 0.01), ladder(*RUNGS, by=0.01), BUDGET)
    wide = effective_speedup(of(1.0, 0.03), ladder(*RUNGS, by=0.03), BUDGET)
    assert narrow is not None
    assert wide is not None
    assert narrow.log_error is not None
    assert wide.log_error is not None
    assert wide.log_error > 2 * narrow.log_error
    far = effective_speedup(of(3.5, 0.05), ladder(*RUNGS, by=0.05), BUDGET)
    assert far is not None
    assert (far.high, far.log_error) == (None, None)
    assert far.low is not None


def test_too_few_runs_or_one_that_diverged_give_nothing() -> None:
    rungs = ladder(*RUNGS)
    assert effective_speedup([1.9], rungs, BUDGET) is None
    assert effective_speedup([1.9, None], rungs, BUDGET) is None
    assert effective_speedup(of(1.0), ladder(1.0), BUDGET) is None
    assert effective_speedup(of(1.0), {50.0: [2.0], 100.0: [1.9]}, BUDGET) is None
    one_lost = rungs | {400.0: [None, line(4.0)]}
    assert effective_speedup(of(1.0), one_lost, BUDGET) is not None


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("truth", "repeats"), [(0.7, 3), (1.0, 5), (1.5, 3), (2.6, 5)])
def test_ninety_percent_intervals_hold_the_truth_about_nine_times_in_ten(
    truth: float, repeats: int, curve: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(7)
    share = coverage(truth, repeats, 0.02, curve, draws=1500, rng=rng)
    assert WANTED[0] <= share <= WANTED[1]


def point(speedup: float, error: float = 0.05) -> Speedup:
    return Speedup(speedup, speedup * 0.9, speedup * 1.1, error)


def test_a_speedup_that_grows_with_compute_has_its_slope() -> None:
    compute = [1e12, 1e13, 1e14]
    found = trend(compute, [point(1.2 * (c / 1e12) ** 0.1) for c in compute])
    assert found is not None
    assert found.slope == pytest.approx(0.1)
    half = 1.6449 * 0.05 / math.sqrt(2 * math.log(10) ** 2)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-3)


def test_the_surer_scales_weigh_more() -> None:
    compute = [1.0, 10.0, 100.0]
    found = trend(compute, [point(1.0, 0.01), point(2.0, 10.0), point(1.0, 0.01)])
    assert found is not None
    assert found.slope == pytest.approx(0.0, abs=1e-4)


def test_a_scale_that_is_not_known_leaves_no_slope() -> None:
    assert trend([1.0, 10.0], [point(1.0), None]) is None
    assert trend([1.0, 10.0], [point(1.0), Speedup(None, 4.0, None, None)]) is None
    assert trend([1.0, 1.0], [point(1.0), point(2.0)]) is None
    assert trend([1.0], [point(1.0)]) is None
