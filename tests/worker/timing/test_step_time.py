import numpy as np
import pytest

from brainformer.worker.timing.calibration import measure_reference, quiet_reference_seconds
from brainformer.worker.timing.step_time import CalibratedTimer, WallTimer
from tests.worker.fake_clock import FakeClock

STEP, KERNEL = 0.040, 0.004


def calibrate(slowdown, *, blocks=20, quiet=KERNEL):
    """Steps and kernels on a machine whose momentary slowdown is `slowdown(i)`."""
    clock, turn = FakeClock(), iter(range(10**6))
    timer = CalibratedTimer(
        clock,
        meter=clock,
        reference=lambda: clock.advance(KERNEL * slowdown(next(turn))),
        quiet_reference_seconds=quiet,
    )
    for _ in range(blocks):
        timer.run(lambda: clock.advance(3 * STEP * slowdown(next(turn))), 3)
        timer.run_reference()
    return timer


def test_quiet_machine_is_measured_as_it_is():
    timer = calibrate(lambda i: 1.0)
    assert timer.step_seconds == pytest.approx(STEP)
    assert timer.contention == pytest.approx(1.0)


def test_a_steady_neighbour_lengthens_the_run_and_not_the_step_time():
    timer = calibrate(lambda i: 2.0)
    assert timer.step_seconds == pytest.approx(STEP)
    assert timer.contention == pytest.approx(2.0)
    assert timer.seconds == pytest.approx(20 * 3 * STEP * 2)


def test_bursts_of_a_neighbour_do_not_show():
    rng = np.random.default_rng(0)
    bursts = rng.random(1000) < 0.4
    timer = calibrate(lambda i: 3.0 if bursts[i] else 1.0, blocks=40)
    assert timer.step_seconds == pytest.approx(STEP, rel=0.01)


def test_caches_that_a_block_has_filled_do_not_show():
    clock = FakeClock()
    runs_since_a_block = 0

    def kernel():
        nonlocal runs_since_a_block
        cold = {0: 1.4, 1: 1.1}.get(runs_since_a_block, 1.0)
        clock.advance(KERNEL * cold)
        runs_since_a_block += 1

    timer = CalibratedTimer(clock, meter=clock, reference=kernel, quiet_reference_seconds=KERNEL)
    for _ in range(20):
        timer.run(lambda: clock.advance(3 * STEP), 3)
        runs_since_a_block = 0
        timer.run_reference(after_block=True)
    assert timer.step_seconds == pytest.approx(STEP)
    assert timer.contention == pytest.approx(1.0)


def test_without_the_reference_kernel_a_steady_neighbour_would_show():
    clock = FakeClock()
    timer = WallTimer(clock)
    for _ in range(10):
        timer.run(lambda: clock.advance(2 * STEP), 1)
    assert timer.step_seconds == pytest.approx(2 * STEP)


def test_wall_time_is_the_median_over_blocks():
    clock = FakeClock()
    timer = WallTimer(clock)
    for seconds in (1.0, 1.0, 1.0, 50.0):
        timer.run(lambda seconds=seconds: clock.advance(seconds), 1)
    assert timer.step_seconds == 1.0
    assert timer.seconds == 53.0


def test_reference_speed_is_recorded_once_per_machine(tmp_path):
    clock = FakeClock()
    fast, slow = (lambda: clock.advance(0.001)), (lambda: clock.advance(0.009))
    first = quiet_reference_seconds(fast, clock=clock, core_count=1, folder=tmp_path)
    again = quiet_reference_seconds(slow, clock=clock, core_count=1, folder=tmp_path)
    other = quiet_reference_seconds(slow, clock=clock, core_count=2, folder=tmp_path)
    assert first == again == pytest.approx(0.001)
    assert other == pytest.approx(0.009)


def test_a_damaged_calibration_file_is_measured_anew(tmp_path):
    clock = FakeClock()
    (tmp_path / "reference-speed.json").write_text("{ not json")
    measured = quiet_reference_seconds(
        lambda: clock.advance(0.002), clock=clock, core_count=1, folder=tmp_path
    )
    assert measured == pytest.approx(0.002)


def test_reference_measurement_leaves_bursts_out():
    clock, turn = FakeClock(), iter(range(1000))
    kernel = lambda: clock.advance(0.010 if next(turn) % 2 else 0.001)  # noqa: E731
    assert measure_reference(kernel, clock=clock) == pytest.approx(0.001)
