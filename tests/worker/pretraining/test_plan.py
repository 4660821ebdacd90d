"""The plan of a run: its learning rates, and what makes two plans the same run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.errors import InvalidInput
from brainformer.worker.pretraining.intervals import Due, Every, parse_every
from brainformer.worker.pretraining.plan import TrainingPlan, default_warm_up, whole_steps
from brainformer.worker.pretraining.progress import Beginning, Meter
from tests.worker.fake_clock import FakeClock
from tests.worker.leases import GENOME, PROXY


def plan(**changes):
    return TrainingPlan(genome=GENOME, proxy=PROXY, **changes)


def rates(one, steps):
    return [float(one.rate(step)) for step in range(steps)]


def test_wsd_rises_stays_and_falls_to_next_to_nothing():
    found = rates(plan(warmup_steps=10).ending_at(100), 100)
    peak = np.float32(PROXY.peak_learning_rate)
    assert found[0] == pytest.approx(peak / 10)
    assert found[:10] == sorted(found[:10])
    assert found[9:81] == [peak] * 72
    assert found[80:] == sorted(found[80:], reverse=True)
    assert found[90] == pytest.approx(peak * (1 - np.sqrt(0.5)), rel=1e-6)
    assert 0 < found[99] < 0.03 * peak


def test_a_cosine_falls_from_the_first_step_on():
    found = rates(plan(schedule="cosine").ending_at(100), 100)
    assert found == sorted(found, reverse=True)
    assert found[50] == pytest.approx(PROXY.peak_learning_rate / 2, rel=1e-6)
    assert rates(plan(schedule="constant").ending_at(9), 9) == [np.float32(0.01)] * 9


@given(
    short=st.integers(10, 2000),
    more=st.integers(0, 2000),
    warmup=st.integers(0, 500),
    share=st.floats(0, 1),
)
def test_a_longer_run_has_the_same_rates_until_the_shorter_one_decays(short, more, warmup, share):
    base = plan(warmup_steps=warmup, decay_share=share)
    one, other = base.ending_at(short), base.ending_at(short + more)
    shared = min(one.decay_start, other.decay_start) + 1
    assert rates(one, min(shared, short)) == rates(other, min(shared, short))


@given(step=st.integers(1, 10**6), share=st.floats(0, 0.95))
def test_a_decay_that_the_clock_begins_has_its_share_of_the_run(step, share):
    found = plan(hours=1, decay_share=share).decaying_from(step)
    assert found.decay_start == step
    assert found.decay_steps / found.total_steps == pytest.approx(share, abs=1 / step + 1e-9)


def test_plans_differ_in_what_is_trained_and_in_nothing_else():
    one = plan().ending_at(100)
    trial = PROXY.model_copy(update={"budget_seconds": 99.0, "clock": "wall"})
    assert one.differences(plan().model_copy(update={"proxy": trial}).ending_at(100)) == []
    wider = PROXY.model_copy(update={"batch_size": 4, "peak_learning_rate": 0.5})
    other = plan(seed=1).model_copy(update={"proxy": wider}).ending_at(200)
    assert one.differences(other) == [
        "batch size",
        "decay steps",
        "peak learning rate",
        "seed",
        "total steps",
    ]
    by_the_clock = plan(hours=1)
    assert by_the_clock.differences(by_the_clock.decaying_from(10)) == []


def test_tokens_become_whole_steps_and_warm_up_a_share():
    assert whole_steps(1, PROXY) == 1
    assert whole_steps(128 * 7 + 1, PROXY) == 8
    assert default_warm_up(1000, PROXY) == 50
    assert default_warm_up(10**6, PROXY) == 2000


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("30s", Every(seconds=30)),
        ("1.5m", Every(seconds=90)),
        ("2h", Every(seconds=7200)),
        ("500", Every(steps=500)),
    ],
)
def test_intervals_are_times_or_steps(text, every):
    assert parse_every(text) == every


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "10 days", "1e3", "5.5"])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(InvalidInput, match="30s, 10m or 1h"):
        parse_every(text)


def test_what_takes_long_is_due_less_often():
    clock = FakeClock()
    due = Due(Every(seconds=10), clock, 0, share=0.01)
    clock.advance(9)
    assert not due.is_due(5)
    clock.advance(1)
    assert due.is_due(5)
    due.done(5, 2.0)  # two seconds are a hundredth of two hundred
    clock.advance(199)
    assert not due.is_due(50)
    clock.advance(1)
    assert due.is_due(50)


def test_steps_are_obeyed_whatever_they_take():
    due = Due(Every(steps=10), FakeClock(), 25, share=0.01)
    assert due.next_step == 30
    assert not due.is_due(29)
    assert due.is_due(30)
    due.done(30, 1e6)
    assert due.next_step == 40


def test_the_meter_leaves_pauses_out_of_rates_and_counts_them_in_what_is_left():
    clock, one = FakeClock(), plan().ending_at(100)
    beginning = Beginning(one, "a" * 32, 0, 1000, flops_per_token=1e6, peak_flops=1e9,
                          peak_source="made up", devices="1 x cpu")  # fmt: skip
    meter = Meter(beginning, clock, 50.0)
    for _ in range(10):
        clock.advance(1.0)
        meter.block(2, 1.0)
    clock.advance(10.0)  # a checkpoint
    status = meter.status(one, 20, loss=1.0, rate=0.1, norm=1.0)
    assert status.steps_per_second == pytest.approx(2.0)
    assert status.tokens_per_second == pytest.approx(2.0 * 128)
    assert status.mfu == pytest.approx(256 * 1e6 / 1e9)
    assert status.paused_share == pytest.approx(0.5)
    assert status.seconds_left == pytest.approx(80.0)
    assert status.elapsed_seconds == pytest.approx(70.0)
