import pytest

from tests.worker.fake_controller import NO_LEASES, RECEIPT, answer, fake_controller
from tests.worker.leases import make_lease
from tests.worker.waiting import wait_for
from worker import trainable
from worker.settings import WorkerSettings
from worker.trainable import LeaseTrainable


@pytest.fixture
def controller():
    with fake_controller() as found:
        yield found


@pytest.fixture
def start(controller, tmp_path, monkeypatch):
    monkeypatch.setattr(trainable, "DatasetHashes", lambda _folder: dict)
    started = []

    def make(*, turn_seconds=60.0, **changes):
        settings = WorkerSettings(
            url=controller.url, pool="cpu", runner="sleep", state_folder=tmp_path, **changes
        )
        slot = LeaseTrainable.__new__(LeaseTrainable)  # as Tune makes it, less Ray
        slot.setup({"turn_seconds": turn_seconds}, settings=settings)
        started.append(slot)
        return slot

    yield make
    for slot in started:
        slot.cleanup()


def grant(controller, *leases):
    said = [answer({"leases": [lease.model_dump(mode="json")]}) for lease in leases]
    controller.say("claim", *said, NO_LEASES)


def turn(slot, *, until):
    """Steps like Tune until `until` holds; returns what the steps told."""
    told = []

    def more():
        told.append(slot.step())
        return until()

    wait_for(more, seconds=60)
    return told


def test_a_slot_runs_one_lease_after_another_within_a_turn(controller, start):
    grant(controller, *(make_lease(lease_id=f"{i}-1") for i in (1, 2, 3)))
    slot = start()
    told = turn(slot, until=lambda: len(controller.got("result")) == 3)
    assert {body["outcome"] for body in controller.got("result")} == {"completed"}
    assert not any(one["done"] for one in told)


def test_nothing_is_claimed_before_the_first_step(controller, start):
    slot = start()
    slot.cleanup()
    assert controller.asked == []


def test_a_turn_ends_after_the_trial_that_outlasts_it(controller, start):
    grant(controller, make_lease(), make_lease(lease_id="2-1"))
    slot = start(turn_seconds=0.0)
    told = turn(slot, until=lambda: bool(controller.got("result")))
    assert told[-1]["done"]
    assert told[-1]["outcome"] == "completed"
    assert slot.reset_config({"turn_seconds": 60.0})
    turn(slot, until=lambda: len(controller.got("result")) == 2)


def test_under_a_logger_every_trial_is_a_turn_that_says_what_it_ran(controller, start):
    grant(controller, make_lease(trial_number=7))
    slot = start(loggers=("tensorboard",))
    told = turn(slot, until=lambda: bool(controller.got("result")))
    assert told[-1]["done"]
    assert told[-1]["trial_number"] == 7
    assert told[-1]["validation_loss"] > 0
    assert told[-1]["timesteps_total"] == 1


def test_a_stopped_slot_hands_its_trial_back_as_preempted(controller, start):
    grant(controller, make_lease(proxy={"budget_seconds": 60}))
    slot = start()
    told = turn(slot, until=lambda: slot._held is not None)
    assert told[-1]["lease"] == "1-1"
    slot.cleanup()
    assert [body["outcome"] for body in controller.got("result")] == ["preempted"]
    assert slot._process.pid is None


def test_a_cancelled_trial_leaves_no_checkpoint(controller, start):
    grant(controller, make_lease(lease_seconds=1, proxy={"budget_seconds": 60}))
    controller.say("progress", answer({"action": "stop", "reason": "cancelled: by its owner"}))
    slot = start()
    folder = slot._settings.checkpoint_folder(make_lease())
    folder.mkdir()
    turn(slot, until=lambda: bool(controller.got("result")))
    result = controller.got("result")[0]
    assert (result["outcome"], result["message"]) == ("cancelled", "cancelled: by its owner")
    assert not folder.exists()


def test_a_result_outlives_a_controller_that_is_away(controller, start):
    grant(controller, make_lease())
    controller.say("result", answer({"detail": "restarting"}, 503), RECEIPT)
    slot = start()
    turn(slot, until=lambda: len(controller.got("result")) == 2)
    wait_for(lambda: not slot._outbox.waiting())
