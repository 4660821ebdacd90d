"""Progress and results: judged by the controller, recorded exactly once."""

from __future__ import annotations

import time

import pytest

from brainformer.search.errors import InvalidMeasurement, LeaseLost, NotFound
from brainformer.search.sql.store import open_store
from brainformer.search.status import SearchStatus
from brainformer.search.trials.lease_messages import ClaimRequest, Lease, Progress, Result
from brainformer.search.trials.trial import Measurements, Outcome, TrialKind, TrialStatus
from tests.search.store.site import ME, Site, completed, failed, point


def report(site: Site, lease: Lease, fraction: float, loss: float | None, **more: float) -> str:
    progress = Progress(point=point(fraction, loss), **more)
    return site.store.progress(lease.lease_id, progress).action


def judged(site: Site, **changes: object) -> Lease:
    """A candidate whose baseline had loss 2.5 at the hurdle, and steps of 20 ms."""
    site.create(**{"baseline_repeats": 2} | changes)
    for _ in range(2):
        lease = site.claim_one()
        assert lease.kind is TrialKind.BASELINE
        site.finish(lease, 2.0, curve=(point(0.25, 2.5), point(1.0, 2.0)))
    return site.claim_one()


def test_a_heartbeat_extends_the_lease(site: Site) -> None:
    site.started()
    lease = site.claim_one()
    site.clock.advance(50)
    assert site.beat(lease) == "continue"
    site.clock.advance(50)
    assert site.store.reap() == 0
    assert site.finish(lease).status == "completed"


def test_a_heartbeat_extends_the_lease_by_the_databases_own_clock(site: Site) -> None:
    site.started()
    site.store.close()
    site.store = open_store(site.url)  # with no clock of ours
    (lease,) = site.store.claim(ClaimRequest(worker_id="w-9", pool="cpu", count=1))
    before = site.trial(lease).lease_expires_at
    assert before is not None
    time.sleep(0.05)
    assert site.store.progress(lease.lease_id, Progress(phase="alive")).action == "continue"
    after = site.trial(lease).lease_expires_at
    assert after is not None
    assert 0.04 < (after - before).total_seconds() < 30
    (worker,) = [one for one in site.store.workers() if one.worker_id == "w-9"]
    assert abs((after - worker.last_seen).total_seconds() - lease.lease_seconds) < 5


def test_a_point_of_the_curve_extends_the_lease_and_shows_while_the_trial_runs(site: Site) -> None:
    site.started()
    lease = site.claim_one()
    site.clock.advance(50)
    report(site, lease, 0.1, 3.5, step_time_ms=18.0)
    site.clock.advance(50)
    assert site.store.reap() == 0
    shown = site.trial(lease)
    assert [one.validation_loss for one in shown.measurements.curve] == [3.5]
    assert shown.lease_expires_at is not None


@pytest.mark.parametrize(("loss", "action"), [(2.4, "continue"), (2.5, "continue"), (2.6, "stop")])
def test_the_first_point_behind_the_hurdle_is_judged_against_the_baseline(
    site: Site, loss: float, action: str
) -> None:
    lease = judged(site)
    assert report(site, lease, 0.2, 9.0) == "continue"
    assert report(site, lease, 0.26, loss) == action


def test_only_the_first_point_behind_the_hurdle_is_judged(site: Site) -> None:
    lease = judged(site)
    assert report(site, lease, 0.26, None) == "continue"
    assert report(site, lease, 0.3, 2.4) == "continue"
    assert report(site, lease, 0.5, 9.0) == "continue"


def test_a_point_reported_again_gets_the_answer_of_the_first_time(site: Site) -> None:
    lease = judged(site)
    assert [report(site, lease, 0.26, 2.6) for _ in range(3)] == ["stop"] * 3
    assert len(site.trial(lease).measurements.curve) == 1


def test_a_search_without_a_hurdle_stops_nobody_for_its_loss(site: Site) -> None:
    lease = judged(site, hurdle=False)
    assert report(site, lease, 0.3, 9.0) == "continue"


def test_a_slow_step_is_stopped_from_a_quarter_of_the_budget_on(site: Site) -> None:
    lease = judged(site, step_time_slack=0.05)
    assert report(site, lease, 0.2, 1.0, step_time_ms=40.0) == "continue"
    assert report(site, lease, 0.26, 1.0, step_time_ms=21.0) == "continue"
    assert report(site, lease, 0.5, 1.0, step_time_ms=21.1) == "stop"


def test_baselines_are_never_stopped(site: Site) -> None:
    site.create(baseline_repeats=2)
    first = site.claim_one()
    site.finish(first, 2.0, curve=(point(0.25, 2.5),))
    second = site.claim_one()
    assert report(site, second, 0.3, 9.0, step_time_ms=900.0) == "continue"


def test_a_curve_of_any_length_is_kept_within_bounds_and_judged_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brainformer.search.sql.trials.heartbeats.MAX_POINTS", 16)
    lease = judged(site)
    for step in range(60):
        fraction = 0.3 if step > 10 else 0.1
        progress = Progress(point=point(fraction, 2.0 if step < 30 else 9.0, step=step))
        assert site.store.progress(lease.lease_id, progress).action == "continue"
    curve = site.trial(lease).measurements.curve
    assert 8 <= len(curve) <= 16
    assert [one.step for one in curve] == sorted(one.step for one in curve)


def test_a_completed_candidate_joins_the_population(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    receipt = site.finish(lease, 2.25)
    assert (receipt.status, receipt.duplicate) == ("completed", False)
    assert receipt.fitness == pytest.approx(0.75)
    assert [one.number for one in site.store.population(search_id)] == [lease.trial_number]
    assert site.trial(lease).in_population


def test_a_pruned_candidate_joins_the_population_with_fitness_minus_one(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    assert site.store.result(lease.lease_id, failed(Outcome.PRUNED)).fitness == -1
    assert [one.fitness for one in site.store.population(search_id)] == [-1]


def test_a_completed_candidate_that_was_too_slow_is_pruned(site: Site) -> None:
    lease = judged(site, step_time_slack=0.0)
    receipt = site.finish(lease, 1.0, curve=(), step_time_ms=20.5)
    assert (receipt.status, receipt.fitness) == ("pruned", -1)
    assert site.trial(lease).outcome is Outcome.INFEASIBLE


@pytest.mark.parametrize("outcome", [Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.LEAKS_FUTURE])
def test_what_the_genome_is_to_blame_for_is_not_tried_again(site: Site, outcome: Outcome) -> None:
    search_id = site.started()
    lease = site.claim_one()
    assert site.store.result(lease.lease_id, failed(outcome)).status == "failed"
    assert site.store.population(search_id) == []
    assert site.claim_one().trial_id != lease.trial_id


@pytest.mark.parametrize(
    "outcome", [Outcome.PREEMPTED, Outcome.TIMED_OUT, Outcome.ERROR, Outcome.CANCELLED]
)
def test_what_the_machine_is_to_blame_for_is_tried_again_within_bounds(
    site: Site, outcome: Outcome
) -> None:
    site.started(max_attempts=3)
    seen = []
    for attempt in (1, 2, 3):
        lease = site.claim_one()
        assert lease.attempt == attempt
        seen.append(site.store.result(lease.lease_id, failed(outcome)).status)
    assert seen == ["queued", "queued", "failed"]
    assert site.trial(lease).outcome is outcome


def test_a_trial_that_runs_again_shows_nothing_of_the_attempt_before(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    report(site, lease, 0.1, 3.0, step_time_ms=1.0)
    site.store.result(lease.lease_id, failed(Outcome.ERROR, "a broken pipe"))
    waiting = site.trial(lease)
    assert (waiting.outcome, waiting.message) == (Outcome.ERROR, "a broken pipe")
    assert waiting.measurements == Measurements()
    assert waiting.started_at is waiting.worker_id is None
    assert site.trials(search_id, sort="step_time_ms")[-1] == waiting
    site.clock.advance(5)
    again = site.trial(site.claim_one(worker="w-2"))
    assert (again.outcome, again.message, again.worker_id) == (None, "", "w-2")
    assert again.started_at is not None
    assert again.started_at.timestamp() == site.clock.now


@pytest.mark.parametrize("result", [completed(), failed(Outcome.DIVERGED), failed(Outcome.ERROR)])
def test_an_identical_repeat_gets_the_receipt_of_the_first(site: Site, result: Result) -> None:
    search_id = site.started()
    lease = site.claim_one()
    first = site.store.result(lease.lease_id, result)
    before = site.search(search_id), site.store.last_event()
    again = site.store.result(lease.lease_id, result)
    assert again == first.model_copy(update={"duplicate": True})
    assert (site.search(search_id), site.store.last_event()) == before


def test_a_repeat_is_known_even_when_the_next_attempt_has_ended_too(site: Site) -> None:
    site.started()
    first = site.claim_one()
    site.store.result(first.lease_id, failed(Outcome.PREEMPTED))
    site.finish(site.claim_one())
    again = site.store.result(first.lease_id, failed(Outcome.PREEMPTED))
    assert (again.status, again.duplicate) == ("queued", True)


def test_a_second_different_result_is_refused_and_kept_for_audit(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    site.finish(lease, 2.0)
    with pytest.raises(LeaseLost):
        site.finish(lease, 1.0)
    assert site.trial(lease).fitness == pytest.approx(1.0)
    kept = site.store.attempts(search_id, lease.trial_number)
    assert [(one.accepted, one.outcome) for one in kept] == [
        (True, Outcome.COMPLETED),
        (False, Outcome.COMPLETED),
    ]
    assert "refused" in kept[1].message


def test_a_late_result_is_refused_and_kept_once(site: Site) -> None:
    search_id = site.started()
    late = site.claim_one(worker="slow")
    site.clock.advance(61)
    now = site.claim_one(worker="quick")
    assert (now.trial_id, now.attempt) == (late.trial_id, 2)
    for _ in range(3):
        with pytest.raises(LeaseLost, match="attempt 2 holds it"):
            site.finish(late, 1.0)
    with pytest.raises(LeaseLost):
        site.beat(late)
    assert site.finish(now, 2.0).fitness == pytest.approx(1.0)
    kept = site.store.attempts(search_id, now.trial_number)
    assert [(one.attempt, one.worker_id, one.accepted) for one in kept] == [
        (1, "slow", False),
        (1, "slow", False),
        (2, "quick", True),
    ]


def test_late_reports_without_end_are_not_kept_without_end(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    site.finish(lease)
    for number in range(40):
        with pytest.raises(LeaseLost):
            site.finish(lease, 1.0 + number / 100)
    assert len(site.store.attempts(search_id, lease.trial_number)) < 20


def test_a_result_after_the_lease_but_before_anybody_noticed_still_counts(site: Site) -> None:
    site.started()
    lease = site.claim_one()
    site.clock.advance(600)
    assert site.finish(lease).status == "completed"


def test_completed_without_a_loss_writes_nothing(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    before = site.search(search_id)
    with pytest.raises(InvalidMeasurement) as caught:
        site.store.result(lease.lease_id, Result(outcome=Outcome.COMPLETED))
    assert caught.value.pointer == "/measurements/validation_loss"
    assert site.search(search_id) == before
    assert site.finish(lease).status == "completed"


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf"), 1e31])
def test_a_loss_that_is_no_number_does_not_reach_the_store(loss: float) -> None:
    with pytest.raises(ValueError):
        Measurements(validation_loss=loss)


def test_the_largest_losses_give_a_finite_fitness(site: Site) -> None:
    search_id = site.create(baseline_repeats=2, step_time_slack=100.0)
    for lease in site.claim(count=2):
        site.finish(lease, 1e30, curve=(point(0.25, 1e30),))
    receipt = site.finish(site.claim_one(), -1e30)
    assert receipt.fitness == pytest.approx(2e30)
    assert site.store.best(search_id).trial.fitness == pytest.approx(2e30)


def test_text_with_nul_characters_is_kept_without_them(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    result = Result(outcome=Outcome.DIVERGED, message="a\0b", traceback="c\0d")
    site.store.result(lease.lease_id, result)
    assert site.trial(lease).message == "a\N{REPLACEMENT CHARACTER}b"
    assert site.store.attempts(search_id, 1)[0].traceback == "c\N{REPLACEMENT CHARACTER}d"
    assert site.store.result(lease.lease_id, result).duplicate


@pytest.mark.parametrize("lease_id", ["7-1", "1-2", "nonsense", "1-1-1"])
def test_reports_on_a_lease_that_never_was_are_not_found(site: Site, lease_id: str) -> None:
    site.create()
    site.claim_one()
    with pytest.raises(NotFound):
        site.store.result(lease_id, completed())
    with pytest.raises(NotFound):
        site.store.progress(lease_id, Progress())
    with pytest.raises(NotFound):
        site.store.progress(lease_id, Progress(point=point(0.1, 2.0)))


def test_a_failing_baseline_fails_the_search_that_has_no_other_pool(site: Site) -> None:
    search_id = site.create(baseline_repeats=2)
    first, second = site.claim(count=2)
    site.store.result(first.lease_id, failed(Outcome.OUT_OF_MEMORY, "16 GiB are not enough"))
    ended = site.search(search_id)
    assert ended.status is SearchStatus.FAILED
    assert "out_of_memory (16 GiB are not enough)" in ended.reason
    assert site.beat(second) == "stop"
    assert site.trial(second).status is TrialStatus.CANCELLED


def test_a_pool_whose_baseline_fails_is_left_out_and_the_others_go_on(site: Site) -> None:
    search_id = site.started()
    broken = site.claim_one(pool="laptop")
    site.store.result(broken.lease_id, failed(Outcome.OUT_OF_MEMORY))
    assert site.status(search_id) is SearchStatus.RUNNING
    assert site.claim(pool="laptop") == []
    assert site.finish(site.claim_one(pool="cpu")).status == "completed"
    told = {one.pool: bool(one.failure) for one in site.store.baselines(search_id)}
    assert told == {"cpu": False, "laptop": True}
    assert "pool.failed" in site.kinds_of_events(search_id)


def test_a_paused_search_fails_with_its_baseline(site: Site) -> None:
    search_id = site.create()
    lease = site.claim_one()
    site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    site.store.result(lease.lease_id, failed(Outcome.DIVERGED))
    assert site.status(search_id) is SearchStatus.FAILED


def test_a_failing_baseline_does_not_keep_a_search_from_stopping(site: Site) -> None:
    search_id = site.create()
    lease = site.claim_one()
    site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    site.store.result(lease.lease_id, failed(Outcome.DIVERGED))
    assert site.status(search_id) is SearchStatus.STOPPED
