import threading

import pytest

from brainformer.search.trials.lease_messages import Progress, Result
from brainformer.search.trials.trial import CurvePoint, Outcome
from brainformer.worker.slot.controller_client import LeaseClient
from brainformer.worker.slot.held_lease import HeldLease
from tests.worker.fake_controller import answer, fake_controller
from tests.worker.leases import make_lease
from tests.worker.waiting import wait_for

PREEMPTED = Result(outcome=Outcome.PREEMPTED, message="asked to stop")
POINT = CurvePoint(fraction=0.25, step=10, training_seconds=1.0, validation_loss=3.0)


@pytest.fixture
def controller():
    with fake_controller() as found:
        yield found


@pytest.fixture
def hold(controller):
    client = LeaseClient(controller.url)
    held = []

    def make(lease_seconds=60.0):
        interrupted = threading.Event()
        lease = make_lease(lease_seconds=lease_seconds)
        held.append(HeldLease(lease, client, interrupted.set))
        return held[-1], interrupted

    yield make
    for one in held:
        one.conclude(PREEMPTED)
    client.close()


def stop(reason, **outcome):
    return answer({"action": "stop", "reason": reason, **outcome})


def test_heartbeats_come_three_times_a_lease_whatever_the_training_does(controller, hold):
    held, _ = hold(lease_seconds=0.06)
    wait_for(lambda: len(controller.got("progress")) >= 3)
    assert {body["phase"] for body in controller.got("progress")} == {"alive"}
    assert held.conclude(PREEMPTED) == PREEMPTED
    beats = len(controller.got("progress"))
    threading.Event().wait(0.1)
    assert len(controller.got("progress")) <= beats + 1


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"outcome": "cancelled"}, Outcome.CANCELLED),
        ({"outcome": "pruned"}, Outcome.PRUNED),
        ({"outcome": "infeasible"}, Outcome.INFEASIBLE),
        ({}, Outcome.PRUNED),  # of a controller that does not tell it yet
        ({"outcome": "infeasible", "since": "a later version"}, Outcome.INFEASIBLE),
    ],
)
def test_a_stop_between_reports_interrupts_the_training(said, outcome, controller, hold):
    reason = "cancelled: hurdle: infeasible"  # words decide nothing
    controller.say("progress", stop(reason, **said))
    held, interrupted = hold(lease_seconds=0.03)
    assert interrupted.wait(5)
    told = held.conclude(PREEMPTED)
    assert (told.outcome, told.message) == (outcome, reason)


def test_a_trial_that_ended_before_the_stop_keeps_its_own_result(controller, hold):
    controller.say("progress", stop("cancelled"))
    held, interrupted = hold(lease_seconds=0.03)
    assert interrupted.wait(5)
    diverged = Result(outcome=Outcome.DIVERGED)
    assert held.conclude(diverged) == diverged


def test_a_lost_lease_interrupts_and_delivers_nothing(controller, hold):
    controller.say("progress", answer({"detail": "attempt 2 holds it"}, 409))
    held, interrupted = hold(lease_seconds=0.03)
    assert interrupted.wait(5)
    assert held.lost
    assert held.conclude(PREEMPTED) is None


@pytest.mark.parametrize("silence", [(200, b"nonsense"), answer({}, 503), answer({}, 422)])
def test_a_controller_that_answers_nonsense_never_costs_the_trial(silence, controller, hold):
    controller.say("progress", silence)
    held, interrupted = hold()
    directive = held.report(Progress(point=POINT, phase="training"))
    assert directive.action == "continue"
    assert held.latest.point == POINT
    assert not interrupted.is_set()
    assert held.conclude(PREEMPTED) == PREEMPTED


def test_nothing_is_asked_once_the_answer_was_stop(controller, hold):
    controller.say("progress", stop("hurdle: too slow to learn"))
    held, _ = hold()
    first = held.report(Progress(point=POINT))
    assert held.report(Progress(point=POINT)) == first
    assert len(controller.got("progress")) == 1


def test_a_trial_that_reports_often_needs_no_heartbeats(controller, hold):
    held, _ = hold(lease_seconds=0.9)
    for _ in range(20):
        held.report(Progress(point=POINT))
        threading.Event().wait(0.05)
    assert all("point" in body for body in controller.got("progress"))
    wait_for(lambda: controller.got("progress")[-1].get("phase") == "alive")


def test_a_report_that_was_not_answered_delays_no_heartbeat(controller, hold):
    controller.say("progress", answer({}, 503))
    held, _ = hold(lease_seconds=0.3)
    for _ in range(20):
        held.report(Progress(point=POINT))
        threading.Event().wait(0.02)
    assert any(body.get("phase") == "alive" for body in controller.got("progress"))
