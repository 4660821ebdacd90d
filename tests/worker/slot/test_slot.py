import pytest

from brainformer.worker.settings import WorkerSettings
from brainformer.worker.slot import slot as slot_module
from brainformer.worker.slot.slot import Slot
from tests.worker.fake_controller import (
    NO_LEASES,
    RECEIPT,
    answer,
    fake_controller,
)
from tests.worker.leases import make_lease
from tests.worker.waiting import wait_for


@pytest.fixture
def controller():
    with fake_controller() as found:
        yield found


@pytest.fixture
def start(controller, tmp_path, monkeypatch):
    monkeypatch.setattr(slot_module, "DatasetHashes", lambda _folder: dict)
    started = []

    def make(*, turn_seconds=60.0, **changes):
        settings = WorkerSettings(
            url=controller.url, pool="cpu", runner="sleep", state_folder=tmp_path, **changes
        )
        settings.make_folders()
        slot = Slot(settings)
        started.append(slot)
        if turn_seconds is not None:
            slot.begin_turn(turn_seconds)
        return slot

    yield make
    for slot in started:
        slot.close()


def grant(controller, *leases):
    said = [answer({"leases": [lease.model_dump(mode="json")]}) for lease in leases]
    controller.say("claim", *said, NO_LEASES)


def results(controller, count):
    return wait_for(lambda: len(controller.got("result")) >= count and controller.got("result"))


def test_a_slot_runs_one_lease_after_another_within_a_turn(controller, start):
    grant(controller, *(make_lease(lease_id=f"{i}-1") for i in (1, 2, 3)))
    slot = start()
    assert {body["outcome"] for body in results(controller, 3)} == {"completed"}
    assert not slot.wait(0.0)[0]


def test_nothing_is_claimed_before_the_turn(controller, start):
    slot = start(turn_seconds=None)
    assert slot.wait(0.0) == (True, {})
    slot.close()
    assert controller.asked == []


def test_a_turn_ends_after_the_trial_that_outlasts_it(controller, start):
    grant(controller, make_lease(), make_lease(lease_id="2-1"))
    slot = start(turn_seconds=0.0)
    over, told = slot.wait(30)
    assert over
    assert told["outcome"] == "completed"
    assert len(controller.got("result")) == 1
    slot.begin_turn(60.0)
    results(controller, 2)


def test_a_turn_without_work_ends_in_time(controller, start):
    over, told = start(turn_seconds=0.0).wait(30)
    assert (over, told) == (True, {"news": "waiting for work in pool cpu"})


def test_under_a_logger_every_trial_is_a_turn_that_says_what_it_ran(controller, start):
    grant(controller, make_lease(trial_number=7))
    over, told = start(loggers=("tensorboard",)).wait(30)
    assert over
    assert told["trial_number"] == 7
    assert told["validation_loss"] > 0
    assert told["timesteps_total"] == 1
    assert told["lease"] == ""


def test_a_running_trial_is_known_by_its_lease(controller, start):
    grant(controller, make_lease(proxy={"budget_seconds": 60}))
    slot = start()
    wait_for(lambda: slot._held)
    told = slot.wait(0.0)[1]
    assert told == {
        "lease": "1-1",
        "search": "s",
        "news": "claimed trial 1 of test (candidate, attempt 1)",
    }
    assert "news" not in slot.wait(0.0)[1]


def test_a_slot_tells_what_it_ran_and_how_it_ended(controller, start):
    grant(controller, make_lease(trial_number=7))
    slot = start()
    results(controller, 1)
    told = wait_for(lambda: slot.wait(0.0)[1].get("news"))
    assert told.splitlines()[0] == "claimed trial 7 of test (candidate, attempt 1)"
    assert "trial 7 of test completed: loss " in told


def test_a_slot_tells_that_the_controller_refuses_it(controller, start):
    controller.say("claim", answer({"detail": "the token is revoked"}, 403))
    slot = start()
    assert "the token is revoked" in wait_for(lambda: slot.wait(0.0)[1].get("refusal"))


def test_a_closed_slot_hands_its_trial_back_as_preempted(controller, start):
    grant(controller, make_lease(proxy={"budget_seconds": 60}))
    slot = start()
    wait_for(lambda: slot._held)
    slot.close()
    assert [body["outcome"] for body in controller.got("result")] == ["preempted"]
    assert slot._process.pid is None


CANCEL = {"action": "stop", "outcome": "cancelled", "reason": "cancelled: by its owner"}


def test_a_cancelled_trial_leaves_no_checkpoint(controller, start):
    grant(controller, make_lease(lease_seconds=1, proxy={"budget_seconds": 60}))
    controller.say("progress", answer(CANCEL))
    slot = start(turn_seconds=None)
    folder = slot._settings.checkpoint_folder(make_lease())
    folder.mkdir()
    slot.begin_turn(60.0)
    result = results(controller, 1)[0]
    assert (result["outcome"], result["message"]) == ("cancelled", "cancelled: by its owner")
    assert not folder.exists()


def test_a_result_outlives_a_controller_that_is_away(controller, start):
    grant(controller, make_lease())
    controller.say("result", answer({"detail": "restarting"}, 503), RECEIPT)
    slot = start()
    results(controller, 2)
    wait_for(lambda: not slot._outbox.waiting())


def test_a_slot_that_fails_tells_tune(controller, start, monkeypatch):
    def broken(_timeout):
        raise RuntimeError("a bug")

    slot = start(turn_seconds=None)
    monkeypatch.setattr(slot._claims, "take", broken)
    slot.begin_turn(60.0)
    with pytest.raises(RuntimeError, match="a bug"):
        slot.wait(10)
